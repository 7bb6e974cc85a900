//! `keyward key reseal`

use std::io::IsTerminal;

use keyward_protocol::operation::{self, PcrChange, Resealed, ResealedPlace};
use serde_json::{Value, json};

use crate::agent::connect;
use crate::arguments::Reseal;
use crate::error::Error;
use crate::exit::Exit;
use crate::hex::encode_into;
use crate::output::{plain, print, print_json};
use crate::pin;

pub(super) fn reseal(wanted: Reseal) -> Result<(), Error> {
    let Reseal {
        key,
        drop_old,
        yes,
        json,
    } = wanted;
    if !yes && !std::io::stdin().is_terminal() {
        return Err(Error::usage(
            "approving other values wants a word from a person, and stdin is no terminal",
        )
        .hint(format!("keyward key reseal {} --yes", plain(&key))));
    }
    let mut agent = connect()?;
    let look = |state| operation::Reseal {
        key: key.clone(),
        state,
        drop_old,
    };
    let seen = agent.call(look(None))?;
    if !json.json {
        print(&shown(&seen))?;
    }
    let nothing = seen.places.iter().all(|place| place.approved);
    if nothing && !drop_old {
        return match json.json {
            true => print_json(&as_json(&seen)),
            false => print("These values are approved already.\n"),
        };
    }
    if !yes {
        let old = match drop_old {
            true => " and no others",
            false => "",
        };
        if !pin::agrees(&format!(
            "Let {} be used with the values of now{old}? [y/N] ",
            plain(&key)
        ))? {
            return Err(Error::new(Exit::Negative, "nothing was approved"));
        }
    }
    let done = agent.call(look(Some(seen.state)))?;
    match json.json {
        true => print_json(&as_json(&done)),
        false => print(&format!(
            "{} can be used with the values of now\n",
            plain(&key)
        )),
    }
}

fn shown(seen: &Resealed) -> String {
    seen.places.iter().map(place).collect()
}

fn place(place: &ResealedPlace) -> String {
    let head = format!("version {} in {}\n", place.version, plain(&place.token));
    let lines = place.pcrs.iter().map(line);
    [head].into_iter().chain(lines).collect()
}

fn line(change: &PcrChange) -> String {
    match change.approved == change.current {
        true => format!(
            "  PCR {:<2}  {}  as approved\n",
            change.pcr,
            digits(&*change.current)
        ),
        false => format!(
            "  PCR {:<2}  {}  approved\n          {}  now\n",
            change.pcr,
            digits(&*change.approved),
            digits(&*change.current)
        ),
    }
}

fn as_json(answer: &Resealed) -> Value {
    let places = answer.places.iter().map(|place| {
        let pcrs = place.pcrs.iter().map(|change| {
            json!({
                "pcr": change.pcr,
                "approved": digits(&*change.approved),
                "current": digits(&*change.current),
            })
        });
        json!({
            "version": place.version,
            "token": place.token,
            "pcrs": pcrs.collect::<Vec<_>>(),
            "approvals": place.approvals,
            "approved": place.approved,
            "recovery_key": place.recovery_key,
        })
    });
    json!({
        "key": answer.key,
        "places": places.collect::<Vec<_>>(),
        "done": answer.done,
    })
}

fn digits(value: &[u8]) -> String {
    let mut digits = Vec::new();
    encode_into(value, &mut digits);
    String::from_utf8_lossy(&digits).into_owned()
}
