//! Licence expressions, as far as packages use them.

/// Whether whoever takes a package under `expression` can do so under licences of `allowed` alone.
///
/// `A/B` is the old spelling of `A OR B`. An exception (`WITH`) only widens a licence, so the pair must be
/// allowed itself or its licence must be.
pub fn permits(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { tokens: &tokens, allowed };
    parser.any() == Some(true) && parser.tokens.is_empty()
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    allowed: &'a [&'a str],
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Option<bool> {
        let mut result = self.all()?;
        while self.take("OR") {
            result |= self.all()?;
        }
        Some(result)
    }

    fn all(&mut self) -> Option<bool> {
        let mut result = self.one()?;
        while self.take("AND") {
            result &= self.one()?;
        }
        Some(result)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let inner = self.any()?;
            return self.take(")").then_some(inner);
        }
        let licence = self.next()?;
        let mut result = self.allowed.contains(&licence);
        if self.take("WITH") {
            let exception = self.next()?;
            result |= self.allowed.contains(&format!("{licence} WITH {exception}").as_str());
        }
        Some(result)
    }

    fn take(&mut self, token: &str) -> bool {
        let is_next = self.tokens.first() == Some(&token);
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }

    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }
}

mod tests {
    use super::permits;

    #[test]
    fn a_choice_needs_one_allowed_licence_and_a_sum_needs_all() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"];
        for fine in [
            "MIT",
            "GPL-3.0 OR MIT",
            "Unlicense/MIT",
            "Apache-2.0 / GPL-3.0",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(permits(fine, &allowed), "{fine}");
        }
        for refused in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT)", "MIT MIT", "(GPL-3.0 OR BSD) AND MIT"]
        {
            assert!(!permits(refused, &allowed), "{refused}");
        }
    }

    #[test]
    fn an_exception_makes_a_pair_of_its_own() {
        let pair = "GPL-3.0-or-later WITH Classpath-exception-2.0";
        assert!(permits(pair, &[pair]));
        assert!(!permits("GPL-3.0-or-later", &[pair]));
        assert!(!permits(pair, &["MIT"]));
    }
}
