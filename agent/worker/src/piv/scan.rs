//! The keys that are on a card.

use keyward_backend::message::{ScanPage, ScannedKey};
use keyward_backend::{Result, VersionId};

use super::key::Content;
use super::session::Session;
use super::slot::Slot;

impl Session<'_> {
    pub(super) fn scan_slots(&self, after: Option<VersionId>) -> Result<ScanPage> {
        let piv = self.piv;
        piv.pins.get()?;
        piv.with_card(|card, cache| {
            cache.clear();
            let (mut keys, mut foreign) = (Vec::new(), 0u32);
            for slot in Slot::all() {
                match cache.content(card, slot)? {
                    Content::Empty => {}
                    Content::Key(key) if key.is_overwritten() => {}
                    Content::Key(key) if key.is_keywards() => {
                        keys.extend(key.note.as_ref().map(|note| ScannedKey {
                            id: note.id,
                            label: note.label.clone(),
                        }));
                    }
                    Content::Key(_) | Content::Foreign => foreign = foreign.saturating_add(1),
                }
            }
            // A card has 24 slots, which is less than a page.
            keys.retain(|key| after.is_none_or(|after| key.id > after));
            keys.sort_by_key(|key| key.id);
            Ok(ScanPage {
                keys,
                more: false,
                foreign,
            })
        })
    }
}
