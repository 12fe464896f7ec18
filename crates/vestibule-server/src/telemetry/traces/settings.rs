//! The settings of traces: OpenTelemetry's own names, so that what a platform sets for all of its
//! services counts here too.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use vestibule::settings::SettingsReader;

use super::sampling::{Root, Sampling};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Added to `OTEL_EXPORTER_OTLP_ENDPOINT`, as the specification of the exporter says.
const PATH: &str = "v1/traces";

const SERVICE_NAME: &str = "service.name";

/// Where spans go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    /// Whole, with its path.
    pub(super) endpoint: Url,
    /// Marked as sensitive.
    pub(super) headers: HeaderMap,
    /// What is said of this process, its name included.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) sampling: Sampling,
}

impl TraceSettings {
    /// Reads the section; none where something was wrong, which `reader` then knows, and none
    /// within where there are to be no traces.
    pub(crate) fn read(reader: &mut SettingsReader) -> Option<Option<Self>> {
        let disabled = reader.flag("OTEL_SDK_DISABLED", false);
        if disabled == Some(true) {
            // Whoever says so need not set right what his platform sets.
            return Some(None);
        }
        let all = reader.parsed(ENDPOINT, None, |text| Ok(Some(below(address(text)?))));
        let own = reader.parsed(TRACES_ENDPOINT, None, |text| address(text).map(Some));
        let headers = match reader.secret(HEADERS) {
            Some(text) => reader.noted(HEADERS, headers(text.expose())),
            None => Some(HeaderMap::new()),
        };
        let protocol = reader.parsed("OTEL_EXPORTER_OTLP_PROTOCOL", (), |text| match text {
            "http/protobuf" => Ok(()),
            _ => Err(
                "must be http/protobuf, usually on port 4318: other protocols are not spoken"
                    .to_owned(),
            ),
        });
        let name = reader.text("OTEL_SERVICE_NAME");
        let attributes = reader.parsed(ATTRIBUTES, Vec::new(), |text| {
            pairs(text).ok_or_else(|| "must be pairs such as deployment.environment.name=production,k8s.pod.name=v-0, with other characters percent-encoded".to_owned())
        });
        let ratio = reader.parsed("OTEL_TRACES_SAMPLER_ARG", 1.0, |text| {
            text.parse::<f64>()
                .ok()
                .filter(|ratio| (0.0..=1.0).contains(ratio))
                .ok_or_else(|| "must be a share from 0 to 1 such as 0.01".to_owned())
        });
        let sampling = reader.parsed(
            "OTEL_TRACES_SAMPLER",
            Sampling::parent_or(Root::All),
            |text| sampling(text, ratio.unwrap_or(1.0)),
        );
        let (all, own, headers) = (all?, own?, headers?);
        protocol?;
        disabled?;
        ratio?;
        let (attributes, sampling) = (named(attributes?, name), sampling?);
        let Some(endpoint) = own.or(all) else {
            return Some(None);
        };
        if !headers.is_empty() && endpoint.scheme() == "http" && !is_loopback(&endpoint) {
            reader.problem(
                HEADERS,
                "would travel in the clear: the endpoint must be https, or on this machine",
            );
            return None;
        }
        Some(Some(Self {
            endpoint,
            headers,
            attributes,
            sampling,
        }))
    }

    /// Where spans go.
    pub(crate) fn endpoint(&self) -> &Url {
        &self.endpoint
    }
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.query().is_none()
            && url.fragment().is_none()
    });
    let url = url.ok_or("must be an http:// or https:// address, such as http://127.0.0.1:4318")?;
    if url.username().is_empty() && url.password().is_none() {
        return Ok(url);
    }
    Err(format!(
        "must be without user and password: set {HEADERS} to what the collector asks for"
    ))
}

fn below(mut url: Url) -> Url {
    let path = format!("{}/{PATH}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// `name=value` between commas, percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text.trim()).decode_utf8().ok()?;
        Some(text.into_owned())
    };
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (decoded(name)?, decoded(value)?);
            (!name.is_empty()).then_some((name, value))
        })
        .collect()
}

/// Nothing of the text is in the error.
fn headers(text: &str) -> Result<HeaderMap, String> {
    let read = || {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs(text)? {
            let name = HeaderName::try_from(name).ok()?;
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Some(headers)
    };
    read().ok_or_else(|| {
        "must be headers such as api-key=…,x-tenant=acme, with other characters percent-encoded"
            .to_owned()
    })
}

/// `OTEL_SERVICE_NAME` wins over the attribute.
fn named(mut attributes: Vec<(String, String)>, name: Option<String>) -> Vec<(String, String)> {
    if let Some(name) = name {
        attributes.retain(|(attribute, _)| attribute != SERVICE_NAME);
        attributes.push((SERVICE_NAME.to_owned(), name));
    } else if !attributes.iter().any(|(name, _)| name == SERVICE_NAME) {
        attributes.push((SERVICE_NAME.to_owned(), "vestibule".to_owned()));
    }
    attributes
}

fn sampling(text: &str, ratio: f64) -> Result<Sampling, String> {
    Ok(match text {
        "always_on" => Sampling::always(Root::All),
        "always_off" => Sampling::always(Root::None),
        "traceidratio" => Sampling::always(Root::Share(ratio)),
        "parentbased_always_on" => Sampling::parent_or(Root::All),
        "parentbased_always_off" => Sampling::parent_or(Root::None),
        "parentbased_traceidratio" => Sampling::parent_or(Root::Share(ratio)),
        _ => {
            return Err(
                "must be always_on, always_off, traceidratio, parentbased_always_on, \
                 parentbased_always_off or parentbased_traceidratio"
                    .to_owned(),
            );
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<TraceSettings>, Vec<String>> {
        let mut reader = SettingsReader::from_pairs(pairs.iter().copied());
        let settings = TraceSettings::read(&mut reader);
        match reader.finish() {
            Ok(()) => Ok(settings.unwrap()),
            Err(error) => {
                assert!(settings.is_none());
                let problems = error.problems.into_iter();
                Err(problems.map(|problem| problem.name).collect())
            }
        }
    }

    fn on(pairs: &[(&str, &str)]) -> TraceSettings {
        read(pairs).unwrap().unwrap()
    }

    #[test]
    fn off_without_an_endpoint_and_when_it_is_said() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("OTEL_SERVICE_NAME", "door")]).unwrap().is_none());
        let off = [
            ("OTEL_SDK_DISABLED", "true"),
            (ENDPOINT, "http://127.0.0.1:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ];
        assert!(read(&off).unwrap().is_none());
        assert_eq!(
            read(&off[1..]).unwrap_err(),
            ["OTEL_EXPORTER_OTLP_PROTOCOL"]
        );
    }

    #[test]
    fn an_endpoint_for_all_gets_a_path_and_one_for_traces_is_taken_as_it_is() {
        for (given, whole) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example/", "https://otel.example/v1/traces"),
            (
                "https://otel.example/otlp",
                "https://otel.example/otlp/v1/traces",
            ),
        ] {
            assert_eq!(on(&[(ENDPOINT, given)]).endpoint.as_str(), whole);
        }
        let own = [
            (ENDPOINT, "http://127.0.0.1:4318"),
            (TRACES_ENDPOINT, "https://traces.example/in"),
        ];
        assert_eq!(on(&own).endpoint.as_str(), "https://traces.example/in");
        for wrong in [
            "127.0.0.1:4318",
            "grpc://127.0.0.1:4317",
            "http://",
            "http://127.0.0.1:4318/?token=x",
            "http://user:word@127.0.0.1:4318",
        ] {
            assert_eq!(
                read(&[(ENDPOINT, wrong)]).unwrap_err(),
                [ENDPOINT],
                "{wrong}"
            );
        }
    }

    #[test]
    fn headers_are_secret_and_do_not_travel_in_the_clear() {
        let headers = (HEADERS, "api-key=hunter2, x-scope=a%20b");
        let settings = on(&[(ENDPOINT, "https://otel.example"), headers]);
        assert_eq!(settings.headers["api-key"], "hunter2");
        assert_eq!(settings.headers["x-scope"], "a b");
        assert!(!format!("{settings:?}").contains("hunter2"));
        for here in [
            "http://127.0.0.1:4318",
            "http://localhost:4318",
            "http://[::1]:4318",
        ] {
            assert!(read(&[(ENDPOINT, here), headers]).is_ok(), "{here}");
        }
        let clear = [(ENDPOINT, "http://otel.example:4318"), headers];
        assert_eq!(read(&clear).unwrap_err(), [HEADERS]);
        for wrong in ["hunter2", "a b=c", "a=%00", "=c"] {
            assert_eq!(read(&[(HEADERS, wrong)]).unwrap_err(), [HEADERS], "{wrong}");
        }
    }

    #[test]
    fn names() {
        let name = |pairs: &[(&str, &str)]| {
            let mut all = vec![(ENDPOINT, "http://127.0.0.1:4318")];
            all.extend(pairs);
            let attributes = on(&all).attributes.into_iter();
            attributes
                .filter(|(name, _)| name == SERVICE_NAME)
                .map(|(_, value)| value)
                .collect::<Vec<_>>()
        };
        let attribute = (ATTRIBUTES, "service.name=door,a=b%2Cc");
        assert_eq!(name(&[]), ["vestibule"]);
        assert_eq!(name(&[attribute]), ["door"]);
        assert_eq!(name(&[attribute, ("OTEL_SERVICE_NAME", "gate")]), ["gate"]);
        assert_eq!(read(&[(ATTRIBUTES, "nonsense")]).unwrap_err(), [ATTRIBUTES]);
        assert_eq!(
            pairs("a=b%2Cc").unwrap(),
            [("a".to_owned(), "b,c".to_owned())]
        );
    }

    #[test]
    fn samplers() {
        let endpoint = (ENDPOINT, "http://127.0.0.1:4318");
        assert_eq!(on(&[endpoint]).sampling, Sampling::parent_or(Root::All));
        let share = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
        for (name, expected) in [
            ("always_on", Sampling::always(Root::All)),
            ("always_off", Sampling::always(Root::None)),
            ("traceidratio", Sampling::always(Root::Share(0.25))),
            (
                "parentbased_traceidratio",
                Sampling::parent_or(Root::Share(0.25)),
            ),
            ("parentbased_always_off", Sampling::parent_or(Root::None)),
        ] {
            let settings = on(&[endpoint, share, ("OTEL_TRACES_SAMPLER", name)]);
            assert_eq!(settings.sampling, expected, "{name}");
        }
        for wrong in ["1.5", "-1", "NaN", "half"] {
            let wrong = read(&[("OTEL_TRACES_SAMPLER_ARG", wrong)]).unwrap_err();
            assert_eq!(wrong, ["OTEL_TRACES_SAMPLER_ARG"]);
        }
        let wrong = read(&[("OTEL_TRACES_SAMPLER", "jaeger_remote")]).unwrap_err();
        assert_eq!(wrong, ["OTEL_TRACES_SAMPLER"]);
    }
}
