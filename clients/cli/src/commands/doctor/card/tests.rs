use super::*;
use crate::commands::init::worker::{ManagementKey, Reference};

fn card(serial: &str, factory: bool) -> ProbedCard {
    let reference = Reference {
        factory: Some(factory),
        tries: Some(3),
    };
    ProbedCard {
        serial: serial.to_owned(),
        firmware: Some("5.7.1".to_owned()),
        pin: reference,
        puk: reference,
        management_key: ManagementKey {
            factory: Some(factory),
            protected: false,
        },
    }
}

fn reader(state: ReaderState, card: Option<ProbedCard>) -> ProbedReader {
    ProbedReader {
        name: "Reader 00".to_owned(),
        state,
        problem: None,
        card,
    }
}

fn of(serial: Option<&str>, readers: Vec<ProbedReader>) -> (Finding, Vec<Finding>) {
    let probed = ProbedCards {
        service: Service::Answers,
        detail: None,
        readers,
    };
    judge("t", "main", serial, &probed, User::Caller)
}

#[test]
fn each_thing_that_hinders_has_words_of_its_own_and_something_to_type() {
    use ReaderState as R;
    let own = || card("1", false);
    let mut blocked = own();
    blocked.pin.tries = Some(0);
    let mut lost = blocked.clone();
    lost.puk.tries = Some(0);
    let cases = [
        (
            of(Some("2"), vec![reader(R::Card, Some(own()))]),
            "is not there, but: 1",
        ),
        (
            of(
                None,
                vec![
                    reader(R::Card, Some(own())),
                    reader(R::Card, Some(card("2", false))),
                ],
            ),
            "several cards",
        ),
        (of(None, vec![reader(R::Held, None)]), "for itself"),
        (of(None, vec![reader(R::Refused, None)]), "polkit"),
        (of(None, vec![reader(R::Empty, None)]), "has no card"),
        (of(None, vec![reader(R::Other, None)]), "no PIV application"),
        (of(None, vec![reader(R::Unread, None)]), "does not answer"),
        (of(None, vec![]), "no reader"),
        (of(None, vec![reader(R::Card, Some(blocked))]), "is blocked"),
        (of(None, vec![reader(R::Card, Some(lost))]), "is blocked"),
        (
            of(None, vec![reader(R::Card, Some(card("1", true)))]),
            "PIN, PUK, management key",
        ),
    ];
    let mut nexts = Vec::new();
    for ((found, _), words) in cases {
        assert!(
            found.is_problem() && found.what.contains(words),
            "{found:?}"
        );
        let next = found.next.unwrap_or_default();
        assert!(!next.is_empty(), "{words}");
        nexts.push(next);
    }
    nexts.sort();
    nexts.dedup();
    assert_eq!(nexts.len(), 11);
}

#[test]
fn a_card_that_is_there_is_fine_beside_others_that_are_not_meant() {
    use ReaderState as R;
    let readers = vec![
        reader(R::Held, None),
        reader(R::Card, Some(card("2", true))),
        reader(R::Card, Some(card("1", false))),
    ];
    let (found, more) = of(Some("1"), readers);
    assert_eq!((found.state, more.len()), (State::Fine, 0), "{found:?}");
}

#[test]
fn pcscd_that_refuses_is_told_from_one_that_is_silent() {
    for (service, words) in [
        (Service::Refused, "polkit"),
        (Service::Absent, "does not answer"),
    ] {
        let probed = ProbedCards {
            service,
            detail: None,
            readers: Vec::new(),
        };
        let (found, _) = judge("t", "main", None, &probed, User::Caller);
        assert!(
            found.is_problem() && found.what.contains(words),
            "{found:?}"
        );
    }
}

#[test]
fn a_firmware_is_a_word_and_no_alarm() {
    let words = |version| {
        let found = firmware("t", Some(version));
        assert!(
            found
                .iter()
                .all(|found| found.state == State::Note && found.next.is_some())
        );
        let all: Vec<String> = found.into_iter().map(|found| found.what).collect();
        let all = all.join(" ");
        (all.contains("2017-15361"), all.contains("2024-45678"))
    };
    assert_eq!(words("4.2.5"), (false, true));
    assert_eq!(words("4.2.6"), (true, true));
    assert_eq!(words("4.3.4"), (true, true));
    assert_eq!(words("4.3.5"), (false, true));
    assert_eq!(words("5.6.9"), (false, true));
    assert_eq!(words("5.7.0"), (false, false));
    assert_eq!(words("5.10.1"), (false, false));
    assert_eq!(words("nonsense"), (false, false));
    assert!(firmware("t", None).is_empty());
}

#[test]
fn a_firmware_stands_in_what_a_token_was_pinned_to() {
    assert_eq!(
        firmware_of("Yubico YubiKey PIV 5.4.3 12345678"),
        Some("5.4.3")
    );
    assert_eq!(firmware_of("PIV PIV card 0707"), None);
}

#[test]
fn what_is_nearly_lost_is_worth_a_word() {
    let mut near = card("1", false);
    (near.pin.tries, near.puk.tries) = (Some(1), Some(0));
    let (found, more) = of(None, vec![reader(ReaderState::Card, Some(near))]);
    assert!(!found.is_problem());
    assert_eq!(more.len(), 2);
    assert!(more.iter().all(|found| found.state == State::Note));
}
