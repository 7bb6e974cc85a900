//! What `keyward init` and `keyward doctor` ask where there is no agent: which cards there are, and to
//! replace what a card has from the factory.
//!
//! What is the factory's is what the card says (metadata, from firmware 5.3). Older ones don't say it,
//! and a wrong guess would spend a try: they are tried with a person's word, and never the last try.

use keyward_backend::{BackendError, Result, TokenIdentity};
use keyward_protocol::SecretBytes;
use pcsc::{Context, Disposition, Protocols, Scope, ShareMode};

use super::Piv;
use super::card::{Card, PIN, PUK, instruction as ins};
use super::failure::{Failure, Way};
use super::identity::Version;
use super::management_key::{ADMIN_DATA, AdminData};
use super::pin::check_new;
use super::reader::{Reader, readers};

/// What every YubiKey has from the factory.
const FACTORY_PIN: &[u8] = b"123456";
const FACTORY_PUK: &[u8] = b"12345678";

/// A reader, and what is in it.
#[derive(Debug)]
pub(crate) struct FoundReader {
    /// What pcscd calls it.
    pub(crate) name: String,
    pub(crate) content: Content,
}

/// What is in a reader.
#[derive(Debug)]
pub(crate) enum Content {
    /// No card.
    Nothing,
    /// A card that another program has for itself.
    Held,
    /// A card that pcscd does not let this user use.
    Refused,
    /// A card without a PIV application.
    Other,
    /// A card that could not be asked, and why.
    Unread(String),
    /// A PIV card.
    Card(Box<FoundCard>),
}

/// A PIV card as it is found.
#[derive(Debug)]
pub(crate) struct FoundCard {
    pub(crate) identity: TokenIdentity,
    /// Of a YubiKey; `None` for another card.
    pub(crate) version: Option<Version>,
    pub(crate) pin: Reference,
    pub(crate) puk: Reference,
    pub(crate) management: Management,
}

/// A PIN or PUK. What a card does not say is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) is_factory: Option<bool>,
    pub(crate) left: Option<u8>,
}

/// A management key. What a card does not say is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Management {
    pub(crate) is_factory: Option<bool>,
    /// Whether it is kept behind the PIN, as Yubico's tools keep it.
    pub(crate) is_protected: bool,
}

/// The readers that there are, and the cards in them. Changes nothing and spends no try.
///
/// # Errors
/// Those of pcscd itself.
pub(crate) fn look() -> std::result::Result<Vec<FoundReader>, pcsc::Error> {
    let context = Context::establish(Scope::System)?;
    let found = readers(&context)?.into_iter().map(|reader| FoundReader {
        name: reader.name.to_string_lossy().into_owned(),
        content: content(&context, &reader),
    });
    Ok(found.collect())
}

/// Why pcscd serves nobody, or not this user.
pub(crate) fn service(error: pcsc::Error) -> (&'static str, String) {
    match Way::of(error) {
        Way::NoService => ("absent", error.to_string()),
        Way::Forbidden => ("refused", error.to_string()),
        _ => ("failed", error.to_string()),
    }
}

fn content(context: &Context, reader: &Reader) -> Content {
    if !reader.present {
        return Content::Nothing;
    }
    let connected = context.connect(&reader.name, ShareMode::Shared, Protocols::ANY);
    let asked = connected.map_err(Failure::from).and_then(|card| {
        let mut card = Left(Some(card));
        match card.0.as_mut() {
            Some(card) => ask(card),
            None => Ok(Content::Nothing),
        }
    });
    match asked {
        Ok(content) => content,
        Err(Failure::Pcsc(error)) => match Way::of(error) {
            Way::Held => Content::Held,
            Way::Forbidden => Content::Refused,
            Way::Gone => Content::Nothing,
            _ => Content::Unread(error.to_string()),
        },
        Err(Failure::Answer(error)) => Content::Unread(error.to_string()),
    }
}

/// A connection that leaves the card as it is: left alone it would reset the card for everybody.
struct Left(Option<pcsc::Card>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(card) = self.0.take() {
            // Without a card there is nothing to leave.
            let _ = card.disconnect(Disposition::LeaveCard);
        }
    }
}

fn ask(card: &mut pcsc::Card) -> std::result::Result<Content, Failure> {
    let Some(mut card) = Card::select(card.transaction()?, None)? else {
        return Ok(Content::Other);
    };
    let found = state(&mut card);
    card.leave();
    Ok(Content::Card(Box::new(found?)))
}

fn state(card: &mut Card<'_>) -> std::result::Result<FoundCard, Failure> {
    let pin = card.pin_metadata(PIN)?;
    let puk = card.pin_metadata(PUK)?;
    let management = card.management_metadata()?;
    Ok(FoundCard {
        identity: card.identity.clone(),
        version: card.version,
        pin: Reference {
            is_factory: pin.map(|pin| pin.is_default),
            left: match pin {
                Some(pin) => Some(pin.left),
                None => card.tries()?,
            },
        },
        puk: Reference {
            is_factory: puk.map(|puk| puk.is_default),
            left: puk.map(|puk| puk.left),
        },
        management: Management {
            is_factory: management.map(|key| key.is_default),
            is_protected: is_protected(card)?,
        },
    })
}

fn is_protected(card: &mut Card<'_>) -> std::result::Result<bool, Failure> {
    if card.version.is_none() {
        return Ok(false);
    }
    let admin = card.object(ADMIN_DATA)?;
    let admin = admin.and_then(|object| AdminData::parse(&object).ok());
    Ok(admin.is_some_and(|admin| admin.is_protected()))
}

/// What a person should know of a card that is in use: what it still has from the factory.
pub(super) fn warnings(card: &mut Card<'_>) -> std::result::Result<Vec<String>, Failure> {
    let (pin, puk) = (card.pin_metadata(PIN)?, card.pin_metadata(PUK)?);
    let management = card.management_metadata()?;
    let known = "is the one of the factory, which everybody knows";
    let rows = [
        (pin.is_some_and(|pin| pin.is_default), "PIN", "change-pin"),
        (puk.is_some_and(|puk| puk.is_default), "PUK", "change-puk"),
        (
            management.is_some_and(|key| key.is_default),
            "management key",
            "new-management-key",
        ),
    ];
    let rows = rows.into_iter().filter(|(is_factory, ..)| *is_factory);
    let text = |(_, what, command)| format!("its {what} {known}: keyward token {command}");
    Ok(rows.map(text).collect())
}

/// What is to be used where something of the factory is replaced.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// In the place of the factory's.
    pub(crate) new_pin: Option<SecretBytes>,
    /// In the place of the factory's.
    pub(crate) new_puk: Option<SecretBytes>,
    /// The PIN of a card that has another than the factory's.
    pub(crate) pin: Option<SecretBytes>,
    /// A person's word that what the card does not tell is the factory's.
    pub(crate) from_factory: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replaced {
    pub(crate) pin: bool,
    pub(crate) management_key: bool,
    pub(crate) puk: bool,
}

/// Replaces what a card has from the factory, and leaves all else as it is.
///
/// # Errors
/// The card is not there, or refuses; what was done before is in the second place.
pub(crate) fn init(
    serial: u32,
    secrets: &Secrets,
) -> std::result::Result<(FoundCard, Replaced), (BackendError, Replaced)> {
    let mut replaced = Replaced::default();
    let done = replace(serial, secrets, &mut replaced);
    match done {
        Ok(found) => Ok((found, replaced)),
        Err(error) => Err((error, replaced)),
    }
}

fn replace(serial: u32, secrets: &Secrets, replaced: &mut Replaced) -> Result<FoundCard> {
    for new in [&secrets.new_pin, &secrets.new_puk].into_iter().flatten() {
        check_new(new)?;
    }
    let piv = Piv::new(Some(serial), None, Vec::new());
    let card = piv.only_card()?;
    piv.expect(Some(&card));
    piv.with_card(|card, _| {
        let found = state(card)?;
        let pin = piv.replace_pin(card, &found, secrets, replaced)?;
        if let Some(pin) = &pin {
            piv.pins.keep(pin);
            piv.replace_management_key(card, &found, replaced)?;
        }
        // The last: a card whose PIN and management key were the factory's is new, and so is its PUK.
        replace_puk(card, &found, secrets, replaced)?;
        state(card)
    })
}

impl Piv {
    /// The PIN that is in force now, if it is known.
    fn replace_pin(
        &self,
        card: &mut Card<'_>,
        found: &FoundCard,
        secrets: &Secrets,
        replaced: &mut Replaced,
    ) -> std::result::Result<Option<SecretBytes>, Failure> {
        let is_said = found.pin.is_factory.is_some();
        let more_than_one = found.pin.left.is_some_and(|left| left > 1);
        let try_it = found.pin.is_factory.unwrap_or(secrets.from_factory);
        if try_it && !is_said && !more_than_one {
            return Err(BackendError::Refused(
                "one try at its PIN is left at the most, and that is not spent on a guess"
                    .to_owned(),
            )
            .into());
        }
        if !try_it {
            let Some(pin) = &secrets.pin else {
                return Ok(None);
            };
            if !more_than_one {
                return Err(BackendError::Refused(
                    "one try at its PIN is left at the most; a right PIN elsewhere, such as \
                     `yubico-piv-tool -a verify-pin`, gives the others back"
                        .to_owned(),
                )
                .into());
            }
            card.verify(pin)?;
            return Ok(Some(copy(pin)));
        }
        let Some(new) = &secrets.new_pin else {
            return Err(BackendError::Refused(
                "its PIN is the one of the factory, and there is no new one".to_owned(),
            )
            .into());
        };
        let factory = SecretBytes::copy_from(FACTORY_PIN);
        card.change_reference(ins::CHANGE_REFERENCE_DATA, PIN, &factory, new)?;
        replaced.pin = true;
        // It opens the card, and is taken back at the end of the transaction.
        card.verify(new)?;
        Ok(Some(copy(new)))
    }

    fn replace_management_key(
        &self,
        card: &mut Card<'_>,
        found: &FoundCard,
        replaced: &mut Replaced,
    ) -> std::result::Result<(), Failure> {
        let is_said = found.management.is_factory;
        let is_protected = found.management.is_protected;
        match is_said {
            _ if card.version.is_none() => return Ok(()),
            Some(false) if is_protected => return Ok(()),
            Some(false) => return self.finish_protecting(card),
            None if is_protected => return Ok(()),
            Some(true) | None => {}
        }
        // Wrong management keys are not counted.
        let old = match self.manage(card) {
            Err(Failure::Answer(BackendError::Refused(_))) if is_said.is_none() => return Ok(()),
            managed => managed?,
        };
        self.protect(card, &old)?;
        replaced.management_key = true;
        Ok(())
    }
}

fn replace_puk(
    card: &mut Card<'_>,
    found: &FoundCard,
    secrets: &Secrets,
    replaced: &mut Replaced,
) -> std::result::Result<(), Failure> {
    // How many tries are left can't be asked where the card does not say it.
    let is_new = secrets.from_factory && replaced.pin && replaced.management_key;
    if !found.puk.is_factory.unwrap_or(is_new) {
        return Ok(());
    }
    let Some(new) = &secrets.new_puk else {
        return Err(BackendError::Refused(
            "its PUK is the one of the factory, and there is no new one".to_owned(),
        )
        .into());
    };
    let factory = SecretBytes::copy_from(FACTORY_PUK);
    card.change_reference(ins::CHANGE_REFERENCE_DATA, PUK, &factory, new)
        .map_err(|failure| match failure {
            Failure::Answer(BackendError::PinIncorrect) => BackendError::Refused(
                "its PUK is not the one of the factory; one try at it was spent".to_owned(),
            )
            .into(),
            other => other,
        })?;
    replaced.puk = true;
    Ok(())
}

fn copy(pin: &SecretBytes) -> SecretBytes {
    SecretBytes::copy_from(pin.expose())
}
