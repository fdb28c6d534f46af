//! What a client takes, and how gladly: the elements of `Accept` and its like (RFC 9110, section 12.4.2).

/// One element without its parameters, and whether it is taken at all: a weight of 0 refuses. The weight may stand anywhere among the
/// parameters (section 12.5.1); one that is no number counts as none.
pub(crate) fn element(one: &str) -> (&str, bool) {
    let mut parts = one.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let refuses = |part: &str| {
        let (key, value) = part.split_once('=').unwrap_or_default();
        key.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0)
    };
    (name, !parts.any(refuses))
}

#[cfg(test)]
mod tests {
    use super::element;

    #[test]
    fn weights_refuse_wherever_they_stand() {
        assert_eq!(element(" text/html "), ("text/html", true));
        assert_eq!(element("text/html;level=1;q=0.5"), ("text/html", true));
        for refused in ["text/html;q=0", "text/html; Q=0.000;x=y", "text/html;x;q=0"] {
            assert_eq!(element(refused), ("text/html", false), "{refused}");
        }
        assert_eq!(element("gzip;q=rubbish"), ("gzip", true));
        assert_eq!(element(""), ("", true));
    }
}
