use std::time::Duration;

use keyward_protocol::piv::TouchPolicy;
use keyward_virtual_piv::Touch;

use super::*;

fn wants(policy: TouchPolicy) -> Option<PivChoice> {
    Some(PivChoice {
        touch_policy: Some(policy),
        ..PivChoice::default()
    })
}

#[test]
fn a_touch_is_announced_before_it_is_waited_for() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.make(KeyType::P256, wants(TouchPolicy::Always)).unwrap();
    assert!(key.report.locator.ends_with("touch-policy=always"));
    rig.token.card().touch(Touch::ByHand);
    let call = rig.worker.send_expecting(sign(&key), Some(key.expected()));
    assert_eq!(rig.worker.receive(call), Some(Outcome::TouchNeeded));
    assert!(rig.token.card().wait_for_blinking(Duration::from_secs(60)));
    rig.token.card().press();
    signed(rig.worker.receive(call).unwrap()).unwrap();
    rig.assert_sound();
}

#[test]
fn a_touch_that_does_not_come_is_missed_and_costs_nothing() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.make(KeyType::P256, wants(TouchPolicy::Always)).unwrap();
    rig.token.card().touch(Touch::Never);
    rig.token.card().touch_timeout(Duration::from_millis(200));
    for _ in 0..2 {
        let call = rig.worker.send(sign(&key));
        assert_eq!(rig.worker.receive(call), Some(Outcome::TouchNeeded));
        let missed = signed(rig.worker.receive(call).unwrap());
        assert_eq!(missed, Err(BackendError::TouchMissed));
    }
    // Too late, it is for nothing.
    rig.token.card().press();
    rig.assert_sound();
    rig.token.card().touch(Touch::AtOnce);
    let call = rig.worker.send(sign(&key));
    assert_eq!(rig.worker.receive(call), Some(Outcome::TouchNeeded));
    signed(rig.worker.receive(call).unwrap()).unwrap();
}

#[test]
fn a_touch_that_counts_still_is_not_announced_again() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.make(KeyType::P256, wants(TouchPolicy::Cached)).unwrap();
    let call = rig.worker.send(sign(&key));
    assert_eq!(rig.worker.receive(call), Some(Outcome::TouchNeeded));
    signed(rig.worker.receive(call).unwrap()).unwrap();
    let call = rig.worker.send(sign(&key));
    signed(rig.worker.receive(call).unwrap()).unwrap();
}

#[test]
fn a_card_that_is_pulled_while_it_blinks_frees_the_worker() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.make(KeyType::P256, wants(TouchPolicy::Always)).unwrap();
    rig.token.card().touch(Touch::ByHand);
    let call = rig.worker.send(sign(&key));
    assert_eq!(rig.worker.receive(call), Some(Outcome::TouchNeeded));
    assert!(rig.token.card().wait_for_blinking(Duration::from_secs(60)));
    rig.token.remove();
    // The command was sent: whether a signature was made is not known.
    let lost = signed(rig.worker.receive(call).unwrap());
    assert!(
        matches!(lost, Err(BackendError::Interrupted(_))),
        "{lost:?}"
    );
}
