//! `alias` and `tag`.

use std::rc::Rc;

use keyward_protocol::operation::{Alias, KeyDescription, Tag};
use keyward_protocol::{ErrorCode, Failure, KeyState};

use super::{alias_taken, intend, mark, registry_refused};
use crate::registry::{Key, RegistryError, check_alias, check_tags};
use crate::request::{Entry, With, read};

impl With<'_> {
    pub(in crate::request) async fn alias(
        &self,
        key: &Key,
        op: &Alias,
        entry: &mut Entry,
    ) -> Result<KeyDescription, Failure> {
        refuse_destroyed(key)?;
        for alias in &op.add {
            check_alias(alias).map_err(|error| invalid(error.to_string()))?;
            let other = self.agent.registry.borrow().key(alias);
            if other.is_some_and(|other| other.id != key.id) {
                return Err(alias_taken(alias));
            }
        }
        for alias in &op.remove {
            if !key.aliases.contains(alias) {
                return Err(Failure::new(
                    ErrorCode::NotFound,
                    format!("the key has no alias {alias:?}"),
                )
                .hint(format!("keyward key show {}", key.id_text)));
            }
        }
        entry.alias = op.add.first().or(op.remove.first()).cloned();
        let counts = (op.add.len(), op.remove.len());
        entry.detail = Some(format!("{} given, {} taken", counts.0, counts.1));
        intend(self.agent, self.origin, "alias", entry).await?;
        let mut registry = self.agent.registry.borrow_mut();
        let changed = registry.set_aliases(key.id, &op.add, &op.remove);
        drop(registry);
        self.renamed(changed, entry)
    }

    pub(in crate::request) async fn tag(
        &self,
        key: &Key,
        op: &Tag,
        entry: &mut Entry,
    ) -> Result<KeyDescription, Failure> {
        refuse_destroyed(key)?;
        check_tags(&op.set).map_err(|error| invalid(error.to_string()))?;
        for name in &op.remove {
            if !key.tags.contains_key(name) {
                return Err(Failure::new(
                    ErrorCode::NotFound,
                    format!("the key has no tag {name:?}"),
                )
                .hint(format!("keyward key show {}", key.id_text)));
            }
        }
        let counts = (op.set.len(), op.remove.len());
        entry.detail = Some(format!("{} set, {} removed", counts.0, counts.1));
        intend(self.agent, self.origin, "tag", entry).await?;
        let mut registry = self.agent.registry.borrow_mut();
        let changed = registry.set_tags(key.id, &op.set, &op.remove);
        drop(registry);
        self.renamed(changed, entry)
    }

    fn renamed(
        &self,
        changed: Result<Rc<Key>, RegistryError>,
        entry: &mut Entry,
    ) -> Result<KeyDescription, Failure> {
        let key = changed.map_err(|error| registry_refused(&error))?;
        entry.registry = Some(mark(self.agent));
        Ok(read::describe(self.agent, &key))
    }
}

fn invalid(words: String) -> Failure {
    Failure::new(ErrorCode::Invalid, words)
}

fn refuse_destroyed(key: &Key) -> Result<(), Failure> {
    if key.state == KeyState::Destroyed {
        return Err(Failure::new(ErrorCode::WrongState, "the key is destroyed"));
    }
    Ok(())
}
