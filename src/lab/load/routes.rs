//! Routes of a target, distinguished by dialled numbers: a single bad one would be lost in the overall
//! figures.

/// Maximum number of routes: each has figures of its own, 0.4 MB.
pub const MOST: usize = 64;

/// Number prefixes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes(Vec<String>);

impl Routes {
    /// Routes with these prefixes.
    ///
    /// # Errors
    /// The error, and the remedy.
    pub fn new(prefixes: Vec<String>) -> Result<Self, String> {
        if prefixes.len() > MOST {
            return Err(format!("{} routes; name at most {MOST}", prefixes.len()));
        }
        let double = |n: usize| prefixes[..n].contains(&prefixes[n]);
        match (0..prefixes.len()).find(|n| prefixes[*n].is_empty() || double(*n)) {
            Some(n) => {
                Err(format!("{:?} is not a route; write the beginning of a number, each once", prefixes[n]))
            }
            None => Ok(Routes(prefixes)),
        }
    }

    /// The prefixes, in the order of the plan.
    pub fn prefixes(&self) -> &[String] {
        &self.0
    }

    /// The route of a number or URI: the one with the longest matching prefix.
    pub fn of(&self, dialled: &str) -> Option<usize> {
        let fits = self.0.iter().enumerate().filter(|(_, prefix)| dialled.starts_with(prefix.as_str()));
        fits.max_by_key(|(_, prefix)| prefix.len()).map(|(n, _)| n)
    }
}

/// The user part of a URI; other text is unchanged.
pub fn number_of(uri: &str) -> &str {
    let rest = match uri.split_once(':') {
        Some(("sip" | "sips" | "tel", rest)) => rest,
        _ => uri,
    };
    rest.split(['@', ';']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_goes_by_the_route_with_the_longest_beginning() {
        let routes = Routes::new(["49", "4971", "1"].map(str::to_owned).to_vec()).unwrap();
        for (dialled, route) in [("497123", Some(1)), ("4930", Some(0)), ("1000", Some(2)), ("33", None)] {
            assert_eq!(routes.of(dialled), route, "{dialled}");
        }
        assert!(Routes::new(vec!["1".to_owned(), "1".to_owned()]).is_err());
        assert!(Routes::new(vec![String::new()]).is_err());
    }

    #[test]
    fn the_number_of_a_uri_is_its_user_part() {
        for uri in
            ["sip:1000@192.0.2.1:5060", "1000", "tel:1000;phone-context=x", "sips:1000@a;transport=tcp"]
        {
            assert_eq!(number_of(uri), "1000", "{uri}");
        }
    }
}
