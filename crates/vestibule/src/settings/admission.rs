//! How many refused tokens a source may send, and who says where a request comes from.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::SettingsReader;

/// Far more than any table of proxies.
const MOST_NETWORKS: usize = 1_000;

/// The admission section of the settings.
#[derive(Clone, Debug, Default)]
pub struct AdmissionSettings {
    /// `TOKEN_REFUSAL_LIMIT`: refused tokens per second and source; 0: no limit.
    pub refusal_limit: u32,
    /// `VESTIBULE_TRUSTED_PROXIES`: networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be networks or addresses separated by commas, such as 10.0.0.0/8, 127.0.0.1 or fd00::/8"
)]
pub struct NetworkError;

impl Network {
    /// Whether the address is in it. An IPv4 address that is written as IPv6 is what it was.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether the address is in one of them.
    pub fn any_contains(networks: &[Self], address: IpAddr) -> bool {
        networks.iter().any(|network| network.contains(address))
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => Ok(IpNet::from(address.to_canonical())),
            Err(_) => text.parse::<IpNet>().map_err(|_| NetworkError),
        };
        network.map(Self)
    }
}

impl AdmissionSettings {
    /// Reads the section; none where something was wrong, which `reader` then knows.
    pub fn read(reader: &mut SettingsReader) -> Option<Self> {
        const PROXIES: &str = "VESTIBULE_TRUSTED_PROXIES";
        let refusal_limit = reader.count("TOKEN_REFUSAL_LIMIT", 0, 0, 1_000_000);
        let networks: Result<Vec<Network>, NetworkError> =
            reader.list(PROXIES).iter().map(|it| it.parse()).collect();
        let networks = networks.map_err(|error| error.to_string());
        let networks = networks.and_then(|networks| match networks.len() {
            0..=MOST_NETWORKS => Ok(networks),
            _ => Err(format!("must be at most {MOST_NETWORKS} networks")),
        });
        let trusted_proxies = reader.noted(PROXIES, networks);
        Some(Self {
            refusal_limit: refusal_limit?,
            trusted_proxies: trusted_proxies?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Option<AdmissionSettings> {
        let mut reader = SettingsReader::from_pairs([(name, value)]);
        let read = AdmissionSettings::read(&mut reader);
        assert_eq!(reader.finish().is_ok(), read.is_some(), "{name}={value}");
        read
    }

    #[test]
    fn networks_and_addresses() {
        let text = "10.0.0.0/8, 127.0.0.1,fd00::/8,::1, ::ffff:192.0.2.1";
        let networks = read("VESTIBULE_TRUSTED_PROXIES", text)
            .unwrap()
            .trusted_proxies;
        let trusted = |address: &str| {
            let address = address.parse().unwrap();
            networks.iter().any(|network| network.contains(address))
        };
        for address in [
            "10.1.2.3",
            "127.0.0.1",
            "fd12::1",
            "::1",
            "192.0.2.1",
            "::ffff:10.0.0.1",
        ] {
            assert!(trusted(address), "{address}");
        }
        for address in ["11.0.0.1", "127.0.0.2", "fe80::1", "::2", "192.0.2.2"] {
            assert!(!trusted(address), "{address}");
        }
        for wrong in ["localhost", "10.0.0.0/33", "10.0.0", "*", "10.0.0.0/8;::1"] {
            assert!(
                read("VESTIBULE_TRUSTED_PROXIES", wrong).is_none(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_limit_is_a_number() {
        let none = AdmissionSettings::read(&mut SettingsReader::from_pairs([("", "")])).unwrap();
        assert_eq!(none.refusal_limit, 0);
        assert_eq!(read("TOKEN_REFUSAL_LIMIT", "20").unwrap().refusal_limit, 20);
        for wrong in ["-1", "many", "1.5", "9999999"] {
            assert!(read("TOKEN_REFUSAL_LIMIT", wrong).is_none(), "{wrong}");
        }
    }
}
