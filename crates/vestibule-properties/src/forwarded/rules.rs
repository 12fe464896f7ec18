//! Which rule a request meets, worked out from docs/gateway.md.

use std::collections::BTreeSet;

use super::{
    hosts,
    input::Original,
    paths::{Bad, Readings, Segments},
};

/// One line: whom it is for, methods, host, path, and what it allows.
pub(super) struct Rule {
    callers: String,
    methods: Vec<String>,
    host: Option<String>,
    path: String,
    preflight: bool,
    allow: Vec<String>,
}

/// All rules of one file.
pub(super) struct Rules<'r>(pub(super) &'r [Rule]);

/// What the rules say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Demand {
    /// They cannot say it.
    Refused,
    NoRule,
    /// Anybody may.
    Nothing,
    /// A person; by the rule of this number.
    Person(usize),
    Machine,
}

/// The application that the rule of this number is for: by it an answer says which rule was met.
pub(super) fn audience(number: usize) -> String {
    format!("rule{number}")
}

/// The file.
pub(super) fn written(rules: &[Rule], turned: bool) -> String {
    let mut tables: Vec<_> = rules.iter().enumerate().map(Rule::written).collect();
    if turned {
        tables.reverse();
    }
    let mut file = toml::Table::new();
    file.insert("rules".to_owned(), toml::Value::Array(tables));
    file.to_string()
}

impl Rule {
    pub(super) fn read(line: &str) -> Option<Self> {
        let list = |text: &str| -> Vec<String> {
            let items = text.split(',').filter(|item| !matches!(*item, "" | "*"));
            items.map(str::to_owned).collect()
        };
        let words: Vec<_> = line.split(' ').collect();
        let [callers, methods, host, path, rest @ ..] = words.as_slice() else {
            return None;
        };
        let (preflight, allow): (Vec<_>, Vec<_>) = list(&rest.concat())
            .into_iter()
            .partition(|word| word == "preflight");
        Some(Self {
            callers: (*callers).to_owned(),
            methods: list(methods),
            host: (*host != "*").then(|| (*host).to_owned()),
            path: (*path).to_owned(),
            preflight: !preflight.is_empty(),
            allow,
        })
    }

    fn written((number, rule): (usize, &Self)) -> toml::Value {
        let mut table = toml::Table::new();
        let mut set = |name: &str, value: toml::Value| table.insert(name.to_owned(), value);
        set("callers", rule.callers.clone().into());
        set("path", rule.path.clone().into());
        set("methods", rule.methods.clone().into());
        set("preflight", rule.preflight.into());
        set("allow", rule.allow.clone().into());
        set("audience", audience(number).into());
        if let Some(host) = &rule.host {
            set("host", host.clone().into());
        }
        table.into()
    }

    /// How much the rule says of such a request; none where it is not for it.
    fn fits(&self, method: &str, host: &str, path: &[String]) -> Option<(usize, usize, u8)> {
        let own = Readings::of(&self.path).ok()?.plain;
        let named = self.methods.iter().any(|name| name == method);
        let is_for = self.methods.is_empty() || named || (self.preflight && method == "OPTIONS");
        // By its name it says more than as one of which a preflight asks.
        let says = if named {
            2
        } else {
            u8::from(!self.methods.is_empty())
        };
        let host = match self.host.as_deref() {
            None => Some(0),
            // The longer name below which it lies says more, and the whole name most.
            Some(pattern) => match pattern.strip_prefix('*') {
                Some(end) => (host.len() > end.len() && host.ends_with(end)).then_some(end.len()),
                None => (host == pattern).then_some(usize::MAX),
            },
        };
        let begins = path.len() >= own.len() && path.iter().zip(&own).all(|(it, own)| it == own);
        match (is_for && begins, host) {
            (true, Some(host)) => Some((host, own.len(), says)),
            _ => None,
        }
    }
}

impl Rules<'_> {
    /// What is demanded: several where the documentation does not say which of the rules applies.
    pub(super) fn judge(&self, original: &Original) -> Result<BTreeSet<Demand>, Bad> {
        let host = hosts::name(&original.host).ok_or(Bad)?;
        let readings = Readings::of(&original.target)?;
        let met = |path: &Segments| self.most_specific(&original.method, &host, path);
        let rules = met(&readings.plain);
        let alike = readings.others.iter().all(|other| met(other) == rules);
        if rules.is_empty() {
            return match readings.oddities.is_empty() {
                true => Ok([Demand::NoRule].into()),
                false => Err(Bad),
            };
        }
        Ok(rules
            .into_iter()
            .map(|number| {
                let rule = &self.0[number];
                let allows = |oddity: &&str| rule.allow.iter().any(|it| it == oddity);
                if !alike || !readings.oddities.iter().all(allows) {
                    return Demand::Refused;
                }
                match rule.callers.as_str() {
                    _ if rule.preflight && original.preflight => Demand::Nothing,
                    "public" => Demand::Nothing,
                    "machine" => Demand::Machine,
                    _ => Demand::Person(number),
                }
            })
            .collect())
    }

    fn most_specific(&self, method: &str, host: &str, path: &[String]) -> BTreeSet<usize> {
        let fits: Vec<_> = self
            .0
            .iter()
            .map(|rule| rule.fits(method, host, path))
            .collect();
        let best = fits.iter().flatten().max();
        let numbers = fits.iter().enumerate();
        numbers
            .filter(|(_, fit)| fit.is_some() && fit.as_ref() == best)
            .map(|(number, _)| number)
            .collect()
    }
}
