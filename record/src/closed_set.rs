//! What every closed set of values has: the list of its values, and for one with names the name of each.

/// Implements what closed sets have in common, for an enum that derives strum's `EnumCount`, `IntoStaticStr` and
/// `VariantArray`: `ALL` and `name`; with a description, such as `"a key type"`, also `Display` and `FromStr` by the
/// name. `all of` implements `ALL` only.
#[macro_export]
macro_rules! closed_set {
    (all of $set:ty) => {
        impl $set {
            /// Every value, in the order of declaration.
            pub const ALL: [Self; <Self as strum::EnumCount>::COUNT] =
                *<Self as strum::VariantArray>::VARIANTS.first_chunk().expect("as many as are counted");
        }
    };
    ($set:ty) => {
        $crate::closed_set!(all of $set);

        impl $set {
            /// The name, as in configuration, messages and figures.
            pub fn name(self) -> &'static str {
                self.into()
            }
        }
    };
    ($set:ty, $what:literal) => {
        $crate::closed_set!($set);

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $set {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.into_iter().find(|value| value.name() == text).ok_or_else(|| {
                    let names = Self::ALL.map(Self::name).join(", ");
                    format!("{text:?} is not {}: expected one of {names}", $what)
                })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    #![allow(unreachable_pub, reason = "what the macro makes is public")]

    #[derive(Clone, Copy, Debug, PartialEq, strum::EnumCount, strum::IntoStaticStr, strum::VariantArray)]
    #[strum(serialize_all = "kebab-case")]
    enum Weather {
        Sun,
        LightRain,
    }

    crate::closed_set!(Weather, "a weather");

    #[test]
    fn values_are_read_by_their_names_and_errors_list_them() {
        assert_eq!(Weather::ALL.map(|weather| weather.to_string()), ["sun", "light-rain"]);
        assert_eq!(Weather::ALL.map(|weather| weather.name().parse()), Weather::ALL.map(Ok));
        let error = "snow".parse::<Weather>().unwrap_err();
        assert_eq!(error, r#""snow" is not a weather: expected one of sun, light-rain"#);
    }
}
