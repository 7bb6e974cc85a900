//! "Did you mean …?"

/// The known word that is near enough to `word` to be meant, if one is.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = match word.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance: an exchange of neighbours counts once.
fn distance(a: &str, b: &str) -> usize {
    // Long words are near to nothing that is known; and the table stays small.
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut last_a = None;
    for (row, from) in a.chars().enumerate() {
        let mut current = vec![row.saturating_add(1)];
        let mut last_b = None;
        for (column, to) in b.iter().copied().enumerate() {
            let cell = |cells: &[usize], back: usize| {
                column
                    .saturating_add(1)
                    .checked_sub(back)
                    .and_then(|at| cells.get(at))
                    .copied()
                    .unwrap_or(usize::MAX)
            };
            let mut best = cell(&above, 1).saturating_add(usize::from(from != to));
            best = best.min(cell(&above, 0).saturating_add(1));
            best = best.min(cell(&current, 1).saturating_add(1));
            if last_a == Some(to) && last_b == Some(from) {
                best = best.min(cell(&before, 2).saturating_add(1));
            }
            current.push(best);
            last_b = Some(to);
        }
        last_a = Some(from);
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn a_slip_of_the_pen_is_found_and_another_word_is_not() {
        let known = ["socket", "state", "sandbox", "log", "mode"];
        assert_eq!(nearest("sokcet", known), Some("socket"));
        assert_eq!(nearest("states", known), Some("state"));
        assert_eq!(nearest("logs", known), Some("log"));
        assert_eq!(nearest("keepalive", known), None);
        assert_eq!(nearest(&"s".repeat(100_000), known), None);
    }

    #[test]
    fn distances_count_inserted_removed_changed_and_exchanged_letters() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "ab", 2),
            ("uri", "url", 1),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
            ("pin", "spin", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
