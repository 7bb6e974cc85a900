//! What is chosen of a PIV card.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use keyward_protocol::piv::{PinPolicy, PivChoice, TouchPolicy, parse_slot};

#[derive(Args)]
pub(crate) struct PivOptions {
    /// The slot of a PIV card: 9a, 9c, 9d, 9e, or 82 to 95; a free one of the latter if not said
    #[arg(long, value_name = "SLOT", value_parser = slot)]
    slot: Option<u8>,
    /// When a PIV card wants its PIN for the key
    #[arg(long, value_name = "POLICY", value_parser = pin_policies())]
    pin_policy: Option<PinPolicy>,
    /// When a PIV card wants to be touched for the key; `cached` is once in 15 seconds
    #[arg(long, value_name = "POLICY", value_parser = touch_policies())]
    touch_policy: Option<TouchPolicy>,
}

impl PivOptions {
    /// What was chosen, if anything was.
    pub(crate) fn choice(&self) -> Option<PivChoice> {
        let choice = PivChoice {
            slot: self.slot,
            pin_policy: self.pin_policy,
            touch_policy: self.touch_policy,
        };
        (choice != PivChoice::default()).then_some(choice)
    }
}

fn slot(text: &str) -> Result<u8, String> {
    match parse_slot(&text.to_ascii_lowercase()) {
        Some(slot @ (0x9a | 0x9c | 0x9d | 0x9e | 0x82..=0x95)) => Ok(slot),
        _ => Err("the slots are 9a, 9c, 9d, 9e, and 82 to 95".into()),
    }
}

fn pin_policies() -> impl TypedValueParser<Value = PinPolicy> {
    let names = PinPolicy::ALL.iter().map(|policy| policy.name());
    PossibleValuesParser::new(names)
        .try_map(|name| PinPolicy::from_name(&name).ok_or("it has no value"))
}

fn touch_policies() -> impl TypedValueParser<Value = TouchPolicy> {
    let names = TouchPolicy::ALL.iter().map(|policy| policy.name());
    PossibleValuesParser::new(names)
        .try_map(|name| TouchPolicy::from_name(&name).ok_or("it has no value"))
}
