//! Arithmetic in GF(64), and Reed-Solomon words over it: the nine symbols of a message are the coefficients of
//! a polynomial, the word is its values at 24 points. Any nine correct values determine the message.

/// Symbols in a message.
pub const MESSAGE: usize = 9;
/// Symbols in a word.
pub const LENGTH: usize = 24;
/// Number of nonzero elements of the field.
const ORDER: usize = 63;
/// x^6 + x + 1, which is primitive.
const POLYNOMIAL: usize = 0x43;
/// Maximum unknowns of a decoder and the right-hand side: MESSAGE, and two for each wrong symbol.
const ROW: usize = MESSAGE + 2 * ((LENGTH - MESSAGE) / 2) + 1;

/// Powers of x, twice over, so that sums of two logarithms need no modulo; and logarithms.
const TABLES: ([u8; 2 * ORDER], [u8; ORDER + 1]) = {
    let (mut exp, mut log) = ([0; 2 * ORDER], [0; ORDER + 1]);
    let (mut value, mut power) = (1, 0);
    while power < ORDER {
        exp[power] = value as u8;
        exp[power + ORDER] = value as u8;
        log[value] = power as u8;
        value <<= 1;
        if value > ORDER {
            value ^= POLYNOMIAL;
        }
        power += 1;
    }
    (exp, log)
};

fn power(exponent: usize) -> u8 {
    TABLES.0[exponent % ORDER]
}

fn times(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    TABLES.0[usize::from(TABLES.1[usize::from(a)]) + usize::from(TABLES.1[usize::from(b)])]
}

/// The inverse of `a`, which must not be 0.
fn inverse(a: u8) -> u8 {
    TABLES.0[ORDER - usize::from(TABLES.1[usize::from(a)])]
}

/// The word of a message. Symbols must be below 64.
pub fn encode(message: &[u8; MESSAGE]) -> [u8; LENGTH] {
    std::array::from_fn(|point| {
        let at = power(point);
        message.iter().rev().fold(0, |sum, &coefficient| times(sum, at) ^ coefficient)
    })
}

/// The message of a word of which only these symbols are known, `(place, symbol)`; at most half of those beyond
/// nine may be wrong. `None` if no message is that near. (Welch and Berlekamp: Q and E of smallest degree with
/// Q(x) = y E(x) at all points; E is 0 where y is wrong, and Q / E is the message.)
pub fn decode(known: &[(usize, u8)]) -> Option<[u8; MESSAGE]> {
    let wrong = known.len().min(LENGTH).checked_sub(MESSAGE)? / 2;
    let unknowns = MESSAGE + 2 * wrong;
    let mut rows = [[0; ROW]; LENGTH];
    let rows = &mut rows[..known.len().min(LENGTH)];
    for (row, &(place, symbol)) in rows.iter_mut().zip(known) {
        let (of_q, of_e) = row.split_at_mut(MESSAGE + wrong);
        for (degree, cell) in of_q.iter_mut().enumerate() {
            *cell = power(place * degree);
        }
        // E's leading coefficient is 1: its term is the right-hand side
        for (degree, cell) in of_e.iter_mut().take(wrong + 1).enumerate() {
            *cell = times(symbol, power(place * degree));
        }
    }
    let solution = solve(rows, unknowns)?;
    divide(&solution[..MESSAGE + wrong], &solution[MESSAGE + wrong..unknowns])
}

/// One solution of linear equations whose right-hand sides are at index `unknowns`.
fn solve(rows: &mut [[u8; ROW]], unknowns: usize) -> Option<[u8; ROW]> {
    let mut leads = [None; ROW];
    let mut rank = 0;
    for (column, lead) in leads.iter_mut().enumerate().take(unknowns) {
        let Some(found) = (rank..rows.len()).find(|&row| rows[row][column] != 0) else { continue };
        rows.swap(rank, found);
        let scale = inverse(rows[rank][column]);
        for cell in &mut rows[rank][column..=unknowns] {
            *cell = times(*cell, scale);
        }
        let pivot = rows[rank];
        for (index, row) in rows.iter_mut().enumerate() {
            let factor = row[column];
            if index != rank && factor != 0 {
                for (cell, &above) in row[column..=unknowns].iter_mut().zip(&pivot[column..=unknowns]) {
                    *cell ^= times(above, factor);
                }
            }
        }
        *lead = Some(rank);
        rank += 1;
    }
    if rows[rank..].iter().any(|row| row[unknowns] != 0) {
        return None;
    }
    // free unknowns are 0: any solution has the same quotient
    Some(leads.map(|lead| lead.map_or(0, |row| rows[row][unknowns])))
}

/// `q` divided by `e`, whose leading coefficient 1 is omitted; `None` if there is a remainder.
fn divide(q: &[u8], e: &[u8]) -> Option<[u8; MESSAGE]> {
    let mut rest = [0; ROW];
    rest[..q.len()].copy_from_slice(q);
    let mut quotient = [0; MESSAGE];
    for degree in (0..MESSAGE).rev() {
        let factor = rest[degree + e.len()];
        quotient[degree] = factor;
        for (below, &coefficient) in e.iter().enumerate() {
            rest[degree + below] ^= times(factor, coefficient);
        }
    }
    rest[..e.len()].iter().all(|&cell| cell == 0).then_some(quotient)
}
