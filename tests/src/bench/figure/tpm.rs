//! A TPM through keyward, and the same commands through `tss-esapi` alone.

use std::time::Duration;

use crate::{
    Daemon, Setup, TokenSetup,
    bench::{
        load::{Load, Measured},
        reference::DirectTpm,
        report::{Bound, Report},
        rig::quiet,
        sample::Sample,
        work::Work,
    },
};

const ROUNDS: usize = 5;
const DURATION: Duration = Duration::from_millis(800);
/// The token's names in keyward.toml: without a PIN, and with one.
const OPEN: &str = "open";
const LOCKED: &str = "locked";

pub(super) fn measure(report: &mut Report) {
    let keyward = start(OPEN, TokenSetup::tpm_without_pin(OPEN));
    let locked = start(LOCKED, TokenSetup::tpm(LOCKED));
    let mut direct = DirectTpm::start();
    let one = Load::one_at_a_time(1);
    for work in [Work::SignP256, Work::EcdhP256, Work::UnwrapRsa2048] {
        let mut samples = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            samples[0].push(direct.run(work, DURATION));
            samples[1].push(one.run(&keyward, work, DURATION));
            samples[2].push(Load::one_at_a_time(8).run(&keyward, work, DURATION));
            samples[3].push(one.run(&locked, work, DURATION));
        }
        let [direct, one, eight, locked] = samples.map(|rounds| Sample::median(&rounds));
        let line = |what| format!("tpm.{}.{what}", work.name());
        // Where something secret passes keyward encrypts it, and the reference does not.
        let bound = work == Work::SignP256;
        match bound {
            true => {
                report.bound(
                    line("p50/direct"),
                    one.p50,
                    "us",
                    direct.p50,
                    Bound::AtMost(1.3),
                );
                let most = Bound::AtLeast(0.9);
                report.bound(line("8x1/direct"), eight.rate, "1/s", direct.rate, most);
            }
            false => {
                report.compare(line("p50/direct"), one.p50, "us", direct.p50);
                report.compare(line("8x1/direct"), eight.rate, "1/s", direct.rate);
            }
        }
        report.compare(line("p99/direct"), one.p99, "us", direct.p99);
        report.compare(line("pin.p50/direct"), locked.p50, "us", direct.p50);
    }
}

/// A daemon whose worker is connected to swtpm itself, and not to the harness's proxy.
fn start(name: &'static str, token: TokenSetup) -> Measured {
    let site = quiet(Setup::new().token(token));
    let tpm = site.tpm(name);
    site.edit_config(&tpm.proxy().tcti(), &tpm.swtpm().tcti());
    tpm.proxy().unplug();
    Measured::new(Daemon::start_on(site), name)
}
