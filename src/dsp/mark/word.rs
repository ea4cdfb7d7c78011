//! Code words: the speaker and the time, as 32 symbols of six bits.
//!
//! Every fourth symbol belongs to the sync word, the others to a Reed-Solomon word of 54 bits: call
//! (32), side (1), the number of the code word modulo 32 (5), and a CRC-16 over these.

use super::field::{self, LENGTH, MESSAGE};
use super::{Mark, Side, WORDS};

/// Symbols per code word, including the sync word.
pub const SYMBOLS: usize = 32;
/// Distance from one symbol of the sync word to the next.
pub const SYNC_EVERY: usize = 4;
/// The sync word. Its tones change with every symbol in both bands, so that it matches itself at no
/// other offset.
pub const SYNC: [u8; SYMBOLS / SYNC_EVERY] = {
    let (low, high) = ([2, 7, 0, 5, 3, 6, 1, 4], [5, 1, 6, 2, 7, 0, 4, 3]);
    let (mut sync, mut n) = ([0; SYMBOLS / SYNC_EVERY], 0);
    while n < sync.len() {
        sync[n] = low[n] << 3 | high[n];
        n += 1;
    }
    sync
};
/// Added to the symbols: calls with small numbers, and messages of mostly zeros, would otherwise
/// repeat a symbol, and a boundary between equal symbols gives no timing.
const WHITENING: [u8; LENGTH] =
    [43, 20, 58, 1, 31, 52, 14, 37, 62, 9, 26, 48, 5, 35, 55, 12, 29, 46, 3, 60, 17, 39, 22, 50];
/// Symbols beyond those of a message that must be known and correct: six bits each against a false word.
const SURPLUS: usize = 4;

/// A code word of symbols below 64: the tone of the low band in three bits, then that of the high band.
pub type Word = [u8; SYMBOLS];

/// Positions of the Reed-Solomon symbols.
pub fn places() -> impl Iterator<Item = usize> {
    (0..SYMBOLS).filter(|place| place % SYNC_EVERY != 0)
}

/// The code word with a number modulo [`WORDS`].
pub fn encode(mark: Mark, number: u8) -> Word {
    let side = u64::from(mark.side == Side::Callee);
    let told = u64::from(mark.call) << 6 | side << 5 | u64::from(number % WORDS);
    let bits = told << 16 | u64::from(crc(told));
    let symbols = field::encode(&std::array::from_fn::<_, MESSAGE, _>(|n| (bits >> (6 * n)) as u8 & 63));
    let mut word = [0; SYMBOLS];
    for (n, place) in places().enumerate() {
        word[place] = symbols[n] ^ WHITENING[n];
    }
    for (n, symbol) in SYNC.into_iter().enumerate() {
        word[n * SYNC_EVERY] = symbol;
    }
    word
}

/// Decodes a code word; returns its mark and number. `sure` is the confidence of each symbol, at
/// most 255; below `doubtful` a symbol counts as unknown, as long as enough are left.
pub fn decode(word: &Word, sure: &[u8; SYMBOLS], doubtful: u8) -> Option<(Mark, u8)> {
    let mut known = [(0, 0); LENGTH];
    let mut order = [(0, 0); LENGTH];
    for (n, place) in places().enumerate() {
        known[n] = (n, word[place] ^ WHITENING[n]);
        order[n] = (u8::MAX - sure[place], n);
    }
    order.sort_unstable();
    let known = order.map(|(_, n)| known[n]);
    let certain = order.iter().take_while(|(unsure, _)| u8::MAX - unsure >= doubtful).count();
    let most = certain.clamp(MESSAGE + SURPLUS, LENGTH);
    // leaving out less certain symbols may raise or lower the tolerated errors: try both
    let fewer = (MESSAGE + SURPLUS + most) / 2;
    [most, fewer].into_iter().find_map(|count| read(&known[..count]))
}

fn read(known: &[(usize, u8)]) -> Option<(Mark, u8)> {
    let message = field::decode(known)?;
    let bits = message.iter().rev().fold(0_u64, |bits, &symbol| bits << 6 | u64::from(symbol));
    let (told, check) = (bits >> 16, bits as u16);
    let side = if told >> 5 & 1 == 0 { Side::Caller } else { Side::Callee };
    (crc(told) == check).then_some((Mark { call: (told >> 6) as u32, side }, told as u8 % WORDS))
}

/// CRC-16 with polynomial 0x1021 and initial value 0xFFFF, over the lowest 40 bits.
fn crc(bits: u64) -> u16 {
    bits.to_be_bytes()[3..].iter().fold(u16::MAX, |crc, &octet| {
        (0..8).fold(crc ^ u16::from(octet) << 8, |crc, _| crc << 1 ^ if crc >> 15 == 1 { 0x1021 } else { 0 })
    })
}
