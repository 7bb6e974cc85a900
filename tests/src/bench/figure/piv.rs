//! A PIV card through keyward, and the same commands through `pcsc` alone, on one virtual card.

use std::time::Duration;

use crate::{
    Daemon, Setup, TokenSetup,
    bench::{
        load::{Load, Measured},
        reference::DirectPiv,
        report::{Bound, Report},
        rig::{TOKEN, quiet},
        sample::Sample,
        work::Work,
    },
};

const ROUNDS: usize = 9;
const DURATION: Duration = Duration::from_millis(700);

pub(super) fn measure(report: &mut Report) {
    let site = quiet(Setup::new().token(TokenSetup::piv(TOKEN)));
    let keyward = Measured::new(Daemon::start_on(site), TOKEN);
    let mut direct = DirectPiv::start(&keyward.daemon, TOKEN);
    for work in [Work::SignP256, Work::EcdhP256] {
        let mut samples = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            samples[0].push(direct.run(work, DURATION));
            samples[1].push(Load::one_at_a_time(1).run(&keyward, work, DURATION));
            samples[2].push(Load::one_at_a_time(8).run(&keyward, work, DURATION));
        }
        let [direct, one, eight] = samples.map(|rounds| Sample::median(&rounds));
        let line = |what| format!("piv.{}.{what}", work.name());
        let most = Bound::AtMost(1.2);
        report.bound(line("p50/direct"), one.p50, "us", direct.p50, most);
        report.compare(line("p99/direct"), one.p99, "us", direct.p99);
        report.compare(line("8x1/direct"), eight.rate, "1/s", direct.rate);
    }
}
