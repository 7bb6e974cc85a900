//! Once loaded, the module stays: thread-local destructors of its copy of std may run after dlclose.
fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
}
