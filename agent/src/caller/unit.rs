//! The systemd unit of a process, from `/proc/PID/cgroup`.

/// Where systemd put a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitPath {
    /// The system's unit: the first service or scope of the path. A boundary: only root makes
    /// these.
    pub unit: Option<String>,
    /// The user's unit inside `user@UID.service`. A hint: the user makes these.
    pub user_unit: Option<String>,
}

impl UnitPath {
    /// Whether both are the same unit.
    #[must_use]
    pub fn is_same_unit(&self, other: &Self) -> bool {
        self.unit.is_some() && self == other
    }
}

/// Reads the text of `/proc/PID/cgroup` (cgroups(7)).
///
/// The unified hierarchy counts; where systemd does not use it, its own named one.
#[must_use]
pub fn parse(cgroup: &[u8]) -> UnitPath {
    let path_of = |hierarchy: fn(&[u8], &[u8]) -> bool| {
        cgroup.split(|byte| *byte == b'\n').find_map(|line| {
            let mut fields = line.splitn(3, |byte| *byte == b':');
            let (id, controllers) = (fields.next()?, fields.next()?);
            let path = fields.next()?;
            hierarchy(id, controllers).then_some(path)
        })
    };
    let unified = path_of(|id, controllers| id == b"0" && controllers.is_empty());
    let named = path_of(|id, controllers| id != b"0" && controllers == b"name=systemd");
    match unified {
        Some(path) if path != b"/" => of_path(path),
        _ => named.map(of_path).unwrap_or_default(),
    }
}

/// Whether this is the name of a service or a scope (systemd.unit(5)).
#[must_use]
pub fn is_unit(name: &str) -> bool {
    let stem = name
        .strip_suffix(".service")
        .or_else(|| name.strip_suffix(".scope"));
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    name.len() <= 255
        && name.chars().all(allowed)
        && stem.is_some_and(|stem| !stem.is_empty() && !stem.starts_with('@'))
}

fn of_path(path: &[u8]) -> UnitPath {
    let Some(path) = std::str::from_utf8(path).ok() else {
        return UnitPath::default();
    };
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let unit = first_unit(&mut parts);
    // What lies below another unit was delegated to it: a name there is whatever it likes.
    let delegates_to_user = unit.as_deref().is_some_and(|unit| {
        unit.strip_prefix("user@")
            .and_then(|rest| rest.strip_suffix(".service"))
            .is_some_and(|uid| !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let user_unit = delegates_to_user.then(|| first_unit(&mut parts)).flatten();
    UnitPath { unit, user_unit }
}

/// Skips slices; the next part is a unit, or this is no tree of systemd's.
fn first_unit<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<String> {
    let part = parts.find(|part| !is_slice(part))?;
    let name = unescape(part);
    is_unit(name).then(|| name.to_owned())
}

fn is_slice(part: &str) -> bool {
    unescape(part)
        .strip_suffix(".slice")
        .is_some_and(|stem| !stem.is_empty())
}

/// systemd puts `_` before names that the kernel could take for its own files.
fn unescape(part: &str) -> &str {
    part.strip_prefix('_').unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cgroup text, system unit, user unit.
    const VECTORS: &[(&str, &str, &str)] = &[
        // systemd, unified
        ("0::/system.slice/web.service\n", "web.service", ""),
        (
            "0::/system.slice/system-getty.slice/getty@tty1.service\n",
            "getty@tty1.service",
            "",
        ),
        ("0::/init.scope\n", "init.scope", ""),
        (
            "0::/user.slice/user-1000.slice/session-3.scope\n",
            "session-3.scope",
            "",
        ),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox@12.service\n",
            "user@1000.service",
            "app-firefox@12.service",
        ),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/gnome\\x2dterm.slice/vte-1.scope\n",
            "user@1000.service",
            "vte-1.scope",
        ),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/init.scope\n",
            "user@1000.service",
            "init.scope",
        ),
        (
            "0::/system.slice/_cgroup.procs.service\n",
            "cgroup.procs.service",
            "",
        ),
        // hybrid and v1
        (
            "12:pids:/system.slice/web.service\n1:name=systemd:/system.slice/web.service\n0::/system.slice/web.service\n",
            "web.service",
            "",
        ),
        (
            "9:name=systemd:/system.slice/web.service\n4:memory:/other.service\n0::/\n",
            "web.service",
            "",
        ),
        (
            "1:name=systemd:/system.slice/web.service\n",
            "web.service",
            "",
        ),
        ("9:name=systemd:/\n0::/\n", "", ""),
        // nested in a delegated subtree
        (
            "0::/system.slice/ci.service/payload/web.service\n",
            "ci.service",
            "",
        ),
        (
            "0::/system.slice/ci.service/system.slice/web.service\n",
            "ci.service",
            "",
        ),
        (
            "0::/machine.slice/machine-deb.scope/payload/system.slice/web.service\n",
            "machine-deb.scope",
            "",
        ),
        (
            "0::/system.slice/user@.service/web.service\n",
            "user@.service",
            "",
        ),
        (
            "0::/system.slice/user@x1.service/web.service\n",
            "user@x1.service",
            "",
        ),
        // containers without systemd
        ("0::/docker/0123abcd/system.slice/web.service\n", "", ""),
        (
            "0::/system.slice/docker-0123abcd.scope\n",
            "docker-0123abcd.scope",
            "",
        ),
        (
            "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-0123.scope\n",
            "cri-containerd-0123.scope",
            "",
        ),
        ("0::/../../system.slice/web.service\n", "", ""),
        ("0::/../web.service\n", "", ""),
        // hostile or broken
        ("", "", ""),
        ("0::\n", "", ""),
        ("0:\n\n::::\n", "", ""),
        ("0::/system.slice/web.service (deleted)\n", "", ""),
        ("0::/system.slice/.service\n", "", ""),
        ("0::/system.slice/@x.service\n", "", ""),
        ("0::/.slice/web.service\n", "", ""),
        ("0::/system.slice/web.service\u{202e}\n", "", ""),
        ("0::/a:0::/system.slice/web.service\n", "", ""),
        ("1:name=systemd:/x/web.service\n0::/evil\n", "", ""),
        ("0:name=systemd:/system.slice/web.service\n", "", ""),
    ];

    #[test]
    fn the_first_unit_below_slices_counts_and_nothing_below_it() {
        for (cgroup, unit, user_unit) in VECTORS {
            let found = parse(cgroup.as_bytes());
            assert_eq!(
                found.unit.as_deref().unwrap_or_default(),
                *unit,
                "{cgroup:?}"
            );
            assert_eq!(
                found.user_unit.as_deref().unwrap_or_default(),
                *user_unit,
                "{cgroup:?}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_name_no_unit() {
        assert_eq!(
            parse(b"0::/system.slice/\xff.service\n"),
            UnitPath::default()
        );
        let long = format!("0::/system.slice/{}.service\n", "a".repeat(300));
        assert_eq!(parse(long.as_bytes()), UnitPath::default());
    }

    #[test]
    fn two_processes_without_a_unit_are_not_in_the_same_one() {
        let none = UnitPath::default();
        assert!(!none.is_same_unit(&none));
        let web = parse(b"0::/system.slice/web.service\n");
        assert!(web.is_same_unit(&web));
        let user = parse(b"0::/user.slice/user-1.slice/user@1.service/a.service\n");
        let other = parse(b"0::/user.slice/user-1.slice/user@1.service/b.service\n");
        assert!(!user.is_same_unit(&other));
    }
}
