//! What every closed set of names has: the list of its values, the name of each, and the name as its text, also in JSON.

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

        impl $set {
            /// Every value, in the order of declaration.
            pub const ALL: [Self; <Self as strum::EnumCount>::COUNT] =
                *<Self as strum::VariantArray>::VARIANTS.first_chunk().expect("as many as are counted");

            /// The name as written in logs and JSON.
            pub fn name(self) -> &'static str {
                self.into()
            }
        }

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use named;
