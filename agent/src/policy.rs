//! Who may do what: pure decisions over facts.
//!
//! For now there is one built-in rule: in user mode whoever owns the socket may use and manage, in
//! system mode whoever `[policy] allow` names. Everybody else may nothing, root included.

use keyward_protocol::OperationCode;

use crate::config::Allow;

/// Who may, as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// User mode: the owner of the socket.
    Owner {
        /// The owner's uid.
        uid: u32,
    },
    /// System mode: whom the list names.
    Allow(Vec<Allow>),
}

/// What a decision is made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f> {
    /// The caller's uid.
    pub uid: u32,
    /// The caller's primary group.
    pub gid: u32,
    /// The caller's other groups.
    pub groups: &'f [u32],
    /// The caller's system unit.
    pub unit: Option<&'f str>,
    /// What it wants to do.
    pub action: Action,
}

/// What a caller wants to do: an operation, told apart where a digest hides what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An operation of the protocol.
    Operation(OperationCode),
    /// `sign` of a digest.
    SignDigest,
}

impl Action {
    /// The operation.
    pub const fn code(self) -> OperationCode {
        match self {
            Self::Operation(code) => code,
            Self::SignDigest => OperationCode::Sign,
        }
    }

    /// The name that logs and policies use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operation(code) => code.name(),
            Self::SignDigest => "sign-digest",
        }
    }
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Permit,
    /// It may not, and may not know whether the key exists.
    Deny,
}

impl Policy {
    /// Decides. Nothing that matches means no.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision {
        let permitted = match self {
            Self::Owner { uid } => facts.uid == *uid,
            Self::Allow(allow) => allow.iter().any(|a| matches(a, facts)),
        };
        if permitted {
            Decision::Permit
        } else {
            Decision::Deny
        }
    }
}

fn matches(allow: &Allow, facts: &Facts<'_>) -> bool {
    match allow {
        Allow::Uid(uid) => facts.uid == *uid,
        Allow::Gid(gid) => facts.gid == *gid || facts.groups.contains(gid),
        Allow::Unit(unit) => facts.unit == Some(unit.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGN: Action = Action::Operation(OperationCode::Sign);

    fn facts(uid: u32) -> Facts<'static> {
        Facts {
            uid,
            gid: uid,
            groups: &[50, 60],
            unit: Some("web.service"),
            action: SIGN,
        }
    }

    #[test]
    fn in_user_mode_the_owner_may_and_root_is_nobody_special() {
        let policy = Policy::Owner { uid: 1000 };
        assert_eq!(policy.decide(&facts(1000)), Decision::Permit);
        assert_eq!(policy.decide(&facts(1001)), Decision::Deny);
        assert_eq!(policy.decide(&facts(0)), Decision::Deny);
    }

    #[test]
    fn in_system_mode_only_who_is_named_may() {
        let decide = |principal, uid| Policy::Allow(vec![principal]).decide(&facts(uid));
        assert_eq!(decide(Allow::Uid(7), 7), Decision::Permit);
        assert_eq!(decide(Allow::Uid(7), 8), Decision::Deny);
        assert_eq!(decide(Allow::Gid(9), 9), Decision::Permit, "primary");
        assert_eq!(decide(Allow::Gid(60), 8), Decision::Permit, "other");
        assert_eq!(decide(Allow::Gid(61), 8), Decision::Deny);
        let unit = |name: &str| Allow::Unit(name.into());
        assert_eq!(decide(unit("web.service"), 8), Decision::Permit);
        assert_eq!(decide(unit("web"), 8), Decision::Deny);
        assert_eq!(Policy::Allow(vec![]).decide(&facts(0)), Decision::Deny);
    }

    #[test]
    fn a_caller_without_a_unit_matches_no_unit() {
        let facts = Facts {
            unit: None,
            ..facts(8)
        };
        let policy = Policy::Allow(vec![Allow::Unit(String::new())]);
        assert_eq!(policy.decide(&facts), Decision::Deny);
    }
}
