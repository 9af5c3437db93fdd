//! Closed sets of the record's names: what every closed set has, and the name as its text, also in JSON.

/// Declares an enum as such a set. Its derives are those that only it has.
macro_rules! named {
    ($(#[$meta:meta])* pub enum $set:ident { $($values:tt)+ }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, strum::EnumCount,
            strum::IntoStaticStr, strum::VariantArray, utoipa::ToSchema,
        )]
        #[serde(rename_all = "kebab-case")]
        #[strum(serialize_all = "kebab-case")]
        pub enum $set {
            $($values)+
        }

        $crate::closed_set!($set);

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use named;
