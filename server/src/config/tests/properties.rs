//! No input panics, whatever it is.

use proptest::prelude::*;

use super::*;

/// A path of the table with one of many kinds of value, as YAML.
fn setting_yaml() -> impl Strategy<Value = String> {
    let key =
        proptest::sample::select(SETTINGS).prop_map(|setting| setting.key.replace(".*", ".x.y"));
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        "\\PC{0,20}".prop_map(|text| serde_json::to_string(&text).expect("JSON")),
        "[0-9.]{0,12}(ns|us|ms|s|m|h)?",
        Just("[a, 1, {b: c}]".to_owned()),
        Just("{a: {b: [1]}}".to_owned()),
        Just("!tag [x]".to_owned()),
        Just("~".to_owned()),
    ];
    (key, value).prop_map(|(key, value)| {
        let levels: Vec<&str> = key.split('.').collect();
        let open: String = levels.iter().map(|level| format!("{{{level}: ")).collect();
        format!("{open}{value}{}", "}".repeat(levels.len()))
    })
}

proptest! {
    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut layers = Layers::new();
        if layers.add_yaml(Path::new("f"), &bytes).is_ok() {
            let _ = Config::from_layers(&layers, &machine());
        }
    }

    #[test]
    fn no_value_of_a_known_key_panics(files in proptest::collection::vec(setting_yaml(), 1..6), flag in "\\PC{0,12}") {
        let mut layers = Layers::new();
        for file in &files {
            let _ = layers.add_yaml(Path::new("f"), file.as_bytes());
        }
        for setting in SETTINGS.iter().filter(|setting| setting.has_flag()) {
            let mut layers = layers.clone();
            let _ = layers.add_environment([(setting.variable(), flag.clone())]);
            let _ = layers.add_flag(setting.key, std::slice::from_ref(&flag));
            let _ = Config::from_layers(&layers, &machine());
        }
    }

    #[test]
    fn a_duration_written_by_us_is_read_back(millis in 0u64..1_000_000_000_000) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(value::parse_duration(&value::duration_text(duration)), Some(duration));
    }
}
