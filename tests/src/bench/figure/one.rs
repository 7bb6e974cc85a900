//! How long one signature takes, when there is nothing else to do.

use std::time::Duration;

use crate::bench::{
    load::Load,
    report::{Bound, Report},
    rig::{Contestant, Rig},
    work::Work,
};

const ROUNDS: usize = 5;
const DURATION: Duration = Duration::from_millis(800);
const LOAD: Load = Load::one_at_a_time(1);

pub(super) fn measure(report: &mut Report) {
    race(
        report,
        "sign-p256-one",
        Contestant::Keyward(LOAD),
        2.5,
        Some(1.0),
    );
}

pub(super) fn measure_without_spin(report: &mut Report) {
    race(
        report,
        "sign-p256-one-nospin",
        Contestant::Sleepy(LOAD),
        3.5,
        None,
    );
}

fn race(
    report: &mut Report,
    name: &str,
    keyward: Contestant,
    of_direct: f64,
    of_p11_kit: Option<f64>,
) {
    let contestants = [keyward, Contestant::Direct(1), Contestant::P11Kit(1)];
    let [keyward, direct, p11_kit] =
        Rig::start().race(Work::SignP256, ROUNDS, DURATION, contestants);
    let line = |what| format!("{name}.{what}");
    report.bound(
        line("p50/direct"),
        keyward.p50,
        "us",
        direct.p50,
        Bound::AtMost(of_direct),
    );
    match of_p11_kit {
        Some(most) => report.bound(
            line("p50/p11-kit"),
            keyward.p50,
            "us",
            p11_kit.p50,
            Bound::AtMost(most),
        ),
        None => report.compare(line("p50/p11-kit"), keyward.p50, "us", p11_kit.p50),
    }
    report.compare(line("p99/direct"), keyward.p99, "us", direct.p99);
    report.compare(line("p99/p11-kit"), keyward.p99, "us", p11_kit.p99);
}
