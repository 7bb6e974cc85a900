//! Which PKCS#11 modules there are.

mod p11_kit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::places::Mode;

/// A module, and what it needs besides its own folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands) struct Module {
    pub(in crate::commands) path: PathBuf,
    /// `none`, `unix` or `inet`.
    pub(in crate::commands) sockets: &'static str,
    pub(in crate::commands) read: Vec<PathBuf>,
    pub(in crate::commands) write: Vec<PathBuf>,
    pub(in crate::commands) environment: BTreeMap<String, String>,
}

/// What is known about a vendor's module.
struct Known {
    /// How its file's name begins.
    file: &'static str,
    /// Where it is, if not in the usual folders.
    place: Option<&'static str>,
    sockets: &'static str,
    /// Its configuration.
    read: &'static [&'static str],
    /// The variables that name other files of configuration.
    variables: &'static [&'static str],
}

const KNOWN: [Known; 7] = [
    Known {
        file: "opensc-pkcs11.so",
        place: None,
        sockets: "unix",
        read: &["/etc/opensc"],
        variables: &["OPENSC_CONF"],
    },
    Known {
        file: "libykcs11.so",
        place: None,
        sockets: "unix",
        read: &[],
        variables: &[],
    },
    Known {
        file: "yubihsm_pkcs11.so",
        place: None,
        sockets: "inet",
        read: &["/etc/yubihsm_pkcs11.conf"],
        variables: &["YUBIHSM_PKCS11_CONF"],
    },
    Known {
        file: "libCryptoki2_64.so",
        place: Some("/usr/safenet/lunaclient/lib"),
        sockets: "inet",
        read: &["/etc/Chrystoki.conf", "/usr/safenet/lunaclient"],
        variables: &["ChrystokiConfigurationPath"],
    },
    Known {
        file: "libcknfast.so",
        place: Some("/opt/nfast/toolkits/pkcs11"),
        sockets: "inet",
        read: &["/opt/nfast"],
        variables: &["CKNFASTRC"],
    },
    Known {
        file: "libcloudhsm_pkcs11.so",
        place: Some("/opt/cloudhsm/lib"),
        sockets: "inet",
        read: &["/opt/cloudhsm"],
        variables: &[],
    },
    Known {
        file: SOFTHSM,
        place: None,
        sockets: "none",
        read: &["/etc/softhsm"],
        variables: &["SOFTHSM2_CONF"],
    },
];

const SOFTHSM: &str = "libsofthsm2.so";

/// Modules that are known to be no hardware.
const SOFTWARE: [&str; 6] = [
    SOFTHSM,
    "p11-kit-trust.so",
    "p11-kit-client.so",
    "p11-kit-proxy.so",
    "gnome-keyring-pkcs11.so",
    "libnssckbi.so",
];

impl Module {
    /// A module by its path, with what is known about it. One that is not known may talk to daemons of the
    /// machine, such as pcscd, and not to the network.
    pub(in crate::commands) fn at(path: &Path) -> Self {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let known = KNOWN.iter().find(|known| file.starts_with(known.file));
        let mut module = Self {
            path: path.to_owned(),
            sockets: known.map_or("unix", |known| known.sockets),
            read: Vec::new(),
            write: Vec::new(),
            environment: BTreeMap::new(),
        };
        let Some(known) = known else { return module };
        let there = known.read.iter().map(PathBuf::from).filter(|p| p.exists());
        module.read.extend(there);
        for name in known.variables {
            if let Ok(value) = std::env::var(name)
                && Path::new(&value).is_absolute()
            {
                module.read.push(value.clone().into());
                module.environment.insert((*name).to_owned(), value);
            }
        }
        if file.starts_with(SOFTHSM) {
            let conf = module
                .environment
                .get("SOFTHSM2_CONF")
                .map_or("/etc/softhsm/softhsm2.conf", |v| v);
            let text = std::fs::read_to_string(conf).unwrap_or_default();
            module.write.extend(softhsm_folder(&text));
        }
        module
    }
}

/// All modules that may have hardware behind them, each file once.
pub(in crate::commands) fn find(mode: Mode, problems: &mut Vec<String>) -> Vec<Module> {
    let mut paths = p11_kit::modules(mode, problems);
    let usual = KNOWN.iter().flat_map(places);
    paths.extend(usual.filter(|path| path.is_file()));
    let mut seen = Vec::new();
    paths.retain(|path| {
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        let name = |path: &Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        let software = [name(path), name(&real)]
            .into_iter()
            .flatten()
            .any(|name| SOFTWARE.iter().any(|known| name.starts_with(known)));
        let new = !software && !seen.contains(&real);
        seen.push(real);
        new
    });
    paths.iter().map(|path| Module::at(path)).collect()
}

/// SoftHSM's module, if it is installed.
pub(in crate::commands) fn softhsm() -> Option<PathBuf> {
    let known = KNOWN.iter().find(|known| known.file == SOFTHSM)?;
    places(known).find(|path| path.is_file())
}

/// Where a known module can be.
fn places(known: &Known) -> impl Iterator<Item = PathBuf> {
    let own = known.place.map(PathBuf::from);
    let usual = library_folders()
        .into_iter()
        .flat_map(|folder| ["", "pkcs11", "softhsm"].map(|below| folder.join(below)));
    // Versions, for those whose plain name is in a package for developers only.
    own.into_iter().chain(usual).flat_map(|folder| {
        ["", ".2", ".1"].map(|version| folder.join(format!("{}{version}", known.file)))
    })
}

/// The system's folders of libraries, with Debian's of this architecture.
fn library_folders() -> Vec<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    [
        &*multiarch,
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib64",
        "/usr/local/lib",
    ]
    .map(PathBuf::from)
    .into()
}

/// The folder that a softhsm2.conf names.
fn softhsm_folder(conf: &str) -> Option<PathBuf> {
    conf.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "directories.tokendir").then(|| value.trim().into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_is_not_known_gets_no_network() {
        let module = Module::at(Path::new("/opt/vendor/libsomething.so"));
        assert_eq!((module.sockets, module.read.len()), ("unix", 0));
        assert_eq!(Module::at(Path::new("/x/libykcs11.so.2")).sockets, "unix");
        assert_eq!(Module::at(Path::new("/x/libcknfast.so")).sockets, "inet");
    }

    #[test]
    fn softhsms_folder_is_read_from_its_configuration() {
        let conf = "# directories\nobjectstore.backend = file\ndirectories.tokendir = /t o\n";
        assert_eq!(softhsm_folder(conf), Some("/t o".into()));
        assert_eq!(softhsm_folder("directories.tokendir"), None);
    }
}
