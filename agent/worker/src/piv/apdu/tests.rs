#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::collections::VecDeque;

use super::*;

/// A card that gives these answers, and what was sent to it.
struct Script {
    answers: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Script {
    fn new(answers: &[&[u8]]) -> Self {
        Self {
            answers: answers.iter().map(|answer| answer.to_vec()).collect(),
            sent: Vec::new(),
        }
    }

    fn exchange(&mut self, command: &Command) -> Result<Answer, ExchangeError<()>> {
        exchange(command, |piece| {
            self.sent.push(piece.to_vec());
            self.answers.pop_front().map(Zeroizing::new).ok_or(())
        })
    }
}

#[test]
fn a_short_command_is_one_piece() {
    for (data, piece) in [
        (vec![], vec![0, 0xfd, 1, 2, 0]),
        (vec![7], vec![0, 0xfd, 1, 2, 1, 7, 0]),
    ] {
        let command = Command::with(0xfd, 1, 2, data);
        let pieces: Vec<_> = command.pieces().map(|piece| piece.to_vec()).collect();
        assert_eq!(pieces, [piece]);
    }
}

#[test]
fn a_long_command_is_chained() {
    let command = Command::with(0x87, 0x07, 0x9a, (0..=255).cycle().take(600).collect());
    let pieces: Vec<_> = command.pieces().collect();
    let heads: Vec<_> = pieces
        .iter()
        .map(|piece| (piece[0], piece[4], piece.len()))
        .collect();
    assert_eq!(heads, [(0x10, 255, 260), (0x10, 255, 260), (0, 90, 96)]);
    let data = [&pieces[0][5..], &pieces[1][5..], &pieces[2][5..95]].concat();
    assert_eq!(data, *command.data);
    let full = Command::with(0x87, 0, 0, vec![1; 255]);
    assert_eq!(full.pieces().count(), 1);
}

#[test]
fn an_answer_is_put_together() {
    let mut script = Script::new(&[&[1, 2, 0x61, 0], &[3, 0x61, 0x01], &[4, 0x90, 0x00]]);
    let answer = script.exchange(&Command::new(0xcb, 0x3f, 0xff)).unwrap();
    assert_eq!(
        (&**answer.data, answer.status),
        (&[1, 2, 3, 4][..], Status::SUCCESS)
    );
    assert_eq!(
        script.sent[1..],
        [vec![0, 0xc0, 0, 0, 0], vec![0, 0xc0, 0, 0, 1]]
    );
}

#[test]
fn a_piece_that_is_refused_ends_the_command() {
    let mut script = Script::new(&[&[0x69, 0x82]]);
    let answer = script
        .exchange(&Command::with(0xdb, 0, 0, vec![1; 600]))
        .unwrap();
    assert_eq!(answer.status, Status::SECURITY_STATUS_NOT_SATISFIED);
    assert_eq!(script.sent.len(), 1);
}

#[test]
fn what_no_card_answers_is_refused() {
    let endless: Vec<&[u8]> = vec![&[0x61, 0x10]; 3];
    let long = [vec![7; 256], vec![0x61, 0x00]].concat();
    let too_long: Vec<&[u8]> = vec![&long; 80];
    for answers in [vec![&[][..]], vec![&[0x90][..]], endless, too_long] {
        let mut script = Script::new(&answers);
        let refused = script.exchange(&Command::new(0xcb, 0, 0));
        assert!(
            matches!(refused, Err(ExchangeError::Malformed(_))),
            "{refused:?}"
        );
    }
    let lost = Script::new(&[]).exchange(&Command::new(0xcb, 0, 0));
    assert!(matches!(lost, Err(ExchangeError::Transmit(()))));
}

#[test]
fn neither_a_command_nor_an_answer_shows_its_data() {
    let command = Command::with(0x20, 0, 0x80, b"123456".to_vec());
    assert_eq!(format!("{command:?}"), "Command(20 00 80, 6 bytes)");
    let answer = Script::new(&[&[7, 0x90, 0]]).exchange(&command).unwrap();
    assert_eq!(format!("{answer:?}"), "Answer(1 bytes, Status(9000))");
}
