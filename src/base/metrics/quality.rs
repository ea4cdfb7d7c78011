//! Conversational quality of speech over IP by the E-model: ITU-T G.107 for narrow-band
//! codecs, G.107.1 for wide-band ones, each with its default values.
//!
//! The quality of a codec is described by its [`Curve`]. Sources of the values:
//!
//! | codec | scale | Ie | Bpl |
//! |---|---|---|---|
//! | G.711 with concealment | G.107 | 0 | 25.1 |
//! | G.722 at 64 kbit/s | G.107.1 | 13 | 12.5 |
//! | Opus, wide band | G.107.1 | 18 | 18.7 |
//!
//! - G.711: G.113 appendix I
//! - G.722: Ie from G.113 appendix IV; Bpl is our estimate, half of G.711's, since a loss also
//!   disturbs the predictor
//! - Opus: measured by Al-Ahmadi (2021) at 15 kbit/s with random loss; b2b uses 24 kbit/s and
//!   more, so this is a lower bound
//!
//! The two scales are not comparable: a wide-band 4.3 sounds better than a narrow-band 4.4,
//! since each is relative to the best that its bandwidth allows.

/// R without delay and loss: G.107 with every default (§7.7).
const R_DEFAULT: f64 = 93.2;
/// R without delay and loss in G.107.1.
const R_DEFAULT_WIDE: f64 = 129.0;
/// R of G.107.1 is divided by this before it is converted to MOS (its Annex A).
const WIDE_SCALE: f64 = 1.29;

/// The sensitivity of a codec to loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    /// Whether G.107.1 applies.
    pub wide: bool,
    /// Ie: impairment without loss.
    pub ie: f64,
    /// Bpl: robustness against loss, in percent.
    pub bpl: f64,
}

impl Curve {
    /// G.711 with concealment.
    pub const G711: Curve = Curve { wide: false, ie: 0.0, bpl: 25.1 };
    /// G.722 at 64 kbit/s.
    pub const G722: Curve = Curve { wide: true, ie: 13.0, bpl: 12.5 };
    /// Opus at 16 kHz and above.
    pub const OPUS: Curve = Curve { wide: true, ie: 18.0, bpl: 18.7 };
}

/// Parameters of a received stream's quality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rating {
    /// The curve of its codec.
    pub curve: Curve,
    /// Packets missing at playout (lost and not recovered, or too late), percent.
    pub loss_pct: f64,
    /// Length of loss bursts relative to random loss (G.107 §3.5, BurstR); 1 for random loss.
    /// See [`burst_ratio`].
    pub burst_ratio: f64,
    /// One-way mouth-to-ear delay, ms.
    pub delay_ms: f64,
}

impl Rating {
    /// The transmission rating R, up to 93.2 or 129.
    pub fn r(&self) -> f64 {
        let r = if self.curve.wide { R_DEFAULT_WIDE } else { R_DEFAULT };
        r - delay_impairment(self.delay_ms) - self.loss_impairment()
    }

    /// Mean opinion score, 1 to 4.5.
    pub fn mos(&self) -> f64 {
        mos_of_r(if self.curve.wide { self.r() / WIDE_SCALE } else { self.r() })
    }

    /// Ie,eff (§7.6). G.107.1 defines it only for random loss; bursts are treated as in
    /// G.107.
    fn loss_impairment(&self) -> f64 {
        let Curve { ie, bpl, .. } = self.curve;
        let loss = self.loss_pct.clamp(0.0, 100.0);
        ie + (95.0 - ie) * loss / (loss / self.burst_ratio.max(1.0) + bpl)
    }
}

/// BurstR from the number of losses and bursts at this loss percentage: 1 to 8, since larger
/// values were never measured.
pub fn burst_ratio(lost: u64, bursts: u64, loss_pct: f64) -> f64 {
    if bursts == 0 {
        return 1.0;
    }
    (lost as f64 / bursts as f64 * (1.0 - loss_pct.clamp(0.0, 100.0) / 100.0)).clamp(1.0, 8.0)
}

/// [`Rating::mos`] of G.711 with random loss, in percent, and one-way delay in ms.
pub fn mos(loss_pct: f64, one_way_delay_ms: f64) -> f64 {
    Rating { curve: Curve::G711, loss_pct, burst_ratio: 1.0, delay_ms: one_way_delay_ms }.mos()
}

/// Idd: the part of Id caused by delay alone, without echo (§7.5, with the default
/// sensitivity sT = 1, mT = 100 ms).
fn delay_impairment(one_way_delay_ms: f64) -> f64 {
    if one_way_delay_ms.is_nan() || one_way_delay_ms <= 100.0 {
        return 0.0;
    }
    let x = (one_way_delay_ms / 100.0).log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

/// Converts R to MOS (Annex B).
fn mos_of_r(r: f64) -> f64 {
    if r <= 0.0 {
        1.0
    } else if r >= 100.0 {
        4.5
    } else {
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 0.005, "{value} is not {expected}");
    }

    #[test]
    fn loss_before_delay() {
        close(mos(0.0, 0.0), 4.41);
        close(mos(1.0, 0.0), 4.33);
        close(mos(5.0, 0.0), 3.92);
    }

    /// G.107 §7.5 by hand. At 200 ms X = 1: 25·(2^(1/6) − 3·(1 + 3^-6)^(1/6) + 2);
    /// at 400 ms X = 2: 25·(65^(1/6) − 3·(1 + (2/3)^6)^(1/6) + 2).
    #[test]
    fn delay_impairment_by_hand() {
        close(delay_impairment(100.0), 0.0);
        assert!((delay_impairment(200.0) - 3.045).abs() < 0.01, "{}", delay_impairment(200.0));
        assert!((delay_impairment(400.0) - 24.08).abs() < 0.05, "{}", delay_impairment(400.0));
    }

    fn rating(curve: Curve, loss_pct: f64, burst_ratio: f64) -> Rating {
        Rating { curve, loss_pct, burst_ratio, delay_ms: 0.0 }
    }

    /// By hand. G.722: R = 129 − 13 = 116, as narrow band 89.92: 1 + 3.147 + 0.190 = 4.337.
    /// Opus at 10 %: Ie,eff = 18 + 77·10/28.7 = 44.83; R = 84.17, as narrow band 65.25.
    #[test]
    fn each_codec_has_its_own_curve() {
        close(rating(Curve::G722, 0.0, 1.0).mos(), 4.337);
        assert!((rating(Curve::OPUS, 10.0, 1.0).r() - 84.17).abs() < 0.01);
        close(rating(Curve::OPUS, 10.0, 1.0).mos(), 3.367);
    }

    /// Ie,eff at 10 % in bursts twice as long: 95·10/(5 + 25.1) = 31.56 instead of 27.07.
    #[test]
    fn losses_in_a_row_are_worse_than_the_same_spread_out() {
        let [random, bursts] = [1.0, 2.0].map(|ratio| rating(Curve::G711, 10.0, ratio));
        assert!((random.r() - bursts.r() - 4.495).abs() < 0.01, "{} {}", random.r(), bursts.r());
        assert!(bursts.mos() < random.mos());
        assert_eq!(burst_ratio(10, 10, 0.0), 1.0);
        assert_eq!(burst_ratio(40, 10, 50.0), 2.0);
        assert_eq!(burst_ratio(0, 0, 5.0), 1.0);
    }

    #[test]
    fn the_scale_has_ends() {
        assert_eq!(mos(100.0, 10_000.0), 1.0);
        assert_eq!(mos_of_r(101.0), 4.5);
        let mut last = 5.0;
        for delay in (0..1_000).step_by(10) {
            let now = mos(1.0, f64::from(delay));
            assert!(now <= last, "more delay is never better");
            last = now;
        }
    }
}
