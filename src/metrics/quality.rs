//! Conversational quality of G.711 over IP by the E-model (ITU-T G.107), with
//! its default values and packet-loss concealment.

/// R without delay and loss: G.107 with every default (§7.7).
const R_DEFAULT: f64 = 93.2;
/// Packet-loss robustness of G.711 with concealment, random loss (G.113
/// Appendix I).
const BPL: f64 = 25.1;

/// Mean opinion score, 1 to 4.5, for random loss in percent (network loss and
/// packets that came too late) and one-way delay mouth to ear in ms.
pub fn mos(loss_pct: f64, one_way_delay_ms: f64) -> f64 {
    mos_of_r(R_DEFAULT - delay_impairment(one_way_delay_ms) - loss_impairment(loss_pct))
}

/// Ie,eff of G.711 (Ie = 0) under random loss (§7.6).
fn loss_impairment(loss_pct: f64) -> f64 {
    let loss = loss_pct.clamp(0.0, 100.0);
    95.0 * loss / (loss + BPL)
}

/// Idd: the part of Id that delay alone causes, for a link without echo (§7.5,
/// with the default sensitivity sT = 1, mT = 100 ms).
fn delay_impairment(one_way_delay_ms: f64) -> f64 {
    if one_way_delay_ms.is_nan() || one_way_delay_ms <= 100.0 {
        return 0.0;
    }
    let x = (one_way_delay_ms / 100.0).log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

/// MOS from R (Annex B).
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
