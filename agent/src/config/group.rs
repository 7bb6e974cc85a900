//! Group names, from `/etc/group` alone: NSS would load libraries into the agent.

use std::io;
use std::path::Path;

/// The id of a group.
pub(super) fn id_of(name: &str, file: &Path) -> io::Result<Option<u32>> {
    Ok(find(&std::fs::read(file)?, name))
}

fn find(groups: &[u8], name: &str) -> Option<u32> {
    groups.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let found = fields.next()? == name.as_bytes();
        let id = fields.nth(1)?;
        found.then(|| std::str::from_utf8(id).ok()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let file = b"root:x:0:\nkey:x:5:a,b\nkeyward:x:998:ada\nbad\nworse:x:many:\n\xff:x:1:\n";
        assert_eq!(find(file, "keyward"), Some(998));
        assert_eq!(find(file, "key"), Some(5));
        for absent in ["", "keywar", "bad", "worse", "ada"] {
            assert_eq!(find(file, absent), None, "{absent}");
        }
    }
}
