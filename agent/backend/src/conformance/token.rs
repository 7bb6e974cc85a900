//! The token: its PIN, its absence, another in its place, and its slowness.

use keyward_protocol::SecretBytes;

use super::{Fixture, make, quick, ready, use_key};
use crate::backend::{Backend, Session};
use crate::error::BackendError;
use crate::message::ChangePin;

/// After a logout every use and every management wants a login, and nothing was lost by it.
///
/// # Panics
/// If it is not so.
pub fn private_keys_need_a_login<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    if !report.login_required {
        return;
    }
    let backend = fixture.backend();
    let (purpose, key_type) = quick(&report);
    let algorithm = purpose.algorithms(key_type)[0];
    let mut session = backend.session().unwrap();
    let (id, _) = make(&mut session, purpose, key_type);
    assert_eq!(
        backend.login(&fixture.pin()).map(|token| token.logged_in),
        Ok(true)
    );
    for _ in 0..2 {
        assert_eq!(backend.logout(), Ok(()));
        let wanted = Err(BackendError::LoginRequired);
        assert_eq!(use_key(&mut session, id, algorithm), wanted);
        assert_eq!(session.destroy(id).map(|_| ()), wanted);
        assert_eq!(session.inspect(id).map(|_| ()), wanted);
        assert_eq!(session.scan(None).map(|_| ()), wanted);
        let refused = session.generate(&super::generate(key_type, purpose));
        assert_eq!(refused.map(|_| ()), wanted);
    }
    assert!(backend.login(&fixture.pin()).unwrap().logged_in);
    use_key(&mut session, id, algorithm).unwrap();
}

/// A wrong PIN is refused as that, and the right one works afterwards.
///
/// # Panics
/// If it is not so.
pub fn a_wrong_pin_breaks_nothing_else<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    if !report.login_required {
        return;
    }
    let backend = fixture.backend();
    let (purpose, key_type) = quick(&report);
    let algorithm = purpose.algorithms(key_type)[0];
    let mut session = backend.session().unwrap();
    let (id, _) = make(&mut session, purpose, key_type);
    backend.logout().unwrap();
    let sent = fixture.pins_sent();
    let refused = backend.login(&wrong(&fixture));
    assert_eq!(refused.map(|_| ()), Err(BackendError::PinIncorrect));
    assert_eq!(fixture.pins_sent(), sent + 1, "a wrong PIN is sent once");
    let wanted = Err(BackendError::LoginRequired);
    assert_eq!(use_key(&mut session, id, algorithm), wanted);
    assert!(!backend.open(Some(&report.identity)).unwrap().logged_in);
    assert!(backend.login(&fixture.pin()).unwrap().logged_in);
    use_key(&mut session, id, algorithm).unwrap();
}

/// The PIN is changed by who knows it, and the old one is worth nothing afterwards.
///
/// # Panics
/// If it is not so.
pub fn a_pin_is_changed_by_who_knows_it<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    if !report.login_required {
        return;
    }
    let backend = fixture.backend();
    let change = |old: &SecretBytes, new: &[u8]| {
        let old = SecretBytes::copy_from(old.expose());
        let new = SecretBytes::copy_from(new);
        backend.change_pin(&ChangePin { old, new })
    };
    let mut next = fixture.pin();
    next.expose_mut().reverse();
    let refused = change(&wrong(&fixture), next.expose());
    assert_eq!(refused.map(|_| ()), Err(BackendError::PinIncorrect));
    let sent = fixture.pins_sent();
    assert!(matches!(
        change(&fixture.pin(), b""),
        Err(BackendError::Invalid(_))
    ));
    assert_eq!(fixture.pins_sent(), sent, "a PIN that can't be is not sent");
    assert!(change(&fixture.pin(), next.expose()).unwrap().logged_in);
    backend.logout().unwrap();
    let old = backend.login(&fixture.pin());
    assert_eq!(old.map(|_| ()), Err(BackendError::PinIncorrect));
    assert!(backend.login(&next).unwrap().logged_in);
}

/// What is not there is said to be absent, and works again when it is back.
///
/// # Panics
/// If it is not so.
pub fn an_absent_token_is_said_to_be_so_and_comes_back<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let backend = fixture.backend();
    let (purpose, key_type) = quick(&report);
    let algorithm = purpose.algorithms(key_type)[0];
    let mut session = backend.session().unwrap();
    let (id, _) = make(&mut session, purpose, key_type);
    use_key(&mut session, id, algorithm).unwrap();
    fixture.remove();
    let absent =
        |error: Result<(), BackendError>| matches!(error, Err(BackendError::TokenAbsent(_)));
    assert!(absent(use_key(&mut session, id, algorithm)));
    assert!(absent(backend.open(Some(&report.identity)).map(|_| ())));
    let sent = fixture.pins_sent();
    if report.login_required {
        assert!(absent(backend.login(&fixture.pin()).map(|_| ())));
    }
    assert_eq!(
        fixture.pins_sent(),
        sent,
        "no PIN goes to a token that is not there"
    );
    fixture.put_back();
    backend.open(Some(&report.identity)).unwrap();
    if report.login_required {
        assert!(backend.login(&fixture.pin()).unwrap().logged_in);
    }
    let mut session = backend.session().unwrap();
    use_key(&mut session, id, algorithm).unwrap();
}

/// Another token in the place of the pinned one is refused, and no PIN is sent to it.
///
/// # Panics
/// If it is not so.
pub fn no_pin_goes_to_another_token<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let backend = fixture.backend();
    let changed = |result: Result<(), BackendError>| {
        assert!(
            matches!(result, Err(BackendError::TokenChanged(_))),
            "{result:?}"
        );
    };
    let sent = fixture.pins_sent();
    fixture.replace();
    changed(backend.open(Some(&report.identity)).map(|_| ()));
    if report.login_required {
        changed(backend.login(&fixture.pin()).map(|_| ()));
        let (old, new) = (fixture.pin(), fixture.pin());
        changed(backend.change_pin(&ChangePin { old, new }).map(|_| ()));
    }
    assert_eq!(fixture.pins_sent(), sent);
    fixture.put_back();
    assert_eq!(
        backend.open(Some(&report.identity)).unwrap().identity,
        report.identity
    );
}

/// A call ends, and well, when the device answers at last. That nobody waits for it that long is
/// the agent's business.
///
/// # Panics
/// If it is not so.
pub fn a_slow_token_answers_when_it_can<F: Fixture>()
where
    F::Backend: Sync,
{
    let (fixture, report) = ready::<F>();
    let backend = fixture.backend();
    let (purpose, key_type) = quick(&report);
    let algorithm = purpose.algorithms(key_type)[0];
    let (id, _) = make(&mut backend.session().unwrap(), purpose, key_type);
    fixture.stall();
    let answered = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| {
            let mut session = backend.session().unwrap();
            let used = use_key(&mut session, id, algorithm);
            answered.store(true, std::sync::atomic::Ordering::SeqCst);
            used
        });
        fixture.wait_until_stalled();
        assert!(!answered.load(std::sync::atomic::Ordering::SeqCst));
        fixture.resume();
        assert_eq!(call.join().unwrap(), Ok(()));
    });
}

/// A PIN of the right length that is not the right one.
fn wrong(fixture: &impl Fixture) -> SecretBytes {
    let mut pin = fixture.pin();
    if let Some(first) = pin.expose_mut().first_mut() {
        *first = if *first == b'1' { b'2' } else { b'1' };
    }
    pin
}
