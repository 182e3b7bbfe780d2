//! Cells, changes and emptied cohorts.

use super::*;

fn curves() -> CohortCurves {
    CohortCurves::new(CurvesConfig { zones: ZonesKept::First, segments: BTreeMap::new() })
}

fn payment(zone: u8, day: i32) -> FactKey {
    let mut key = FactKey::new(AppIx(0), zone, FactKind::Payment, Day(day), 0);
    (key.first_day, key.install_day) = (Day(10), Day(9));
    key
}

#[test]
fn cells_come_in_order_of_days_whatever_the_order_of_events() {
    let dictionary = Dictionary::default();
    let mut curves = curves();
    for day in [12, 10, 11, 12] {
        curves.add(&payment(0, day), Sums::count(1), &dictionary);
    }
    let anchor = Anchor::FirstPurchase;
    let key = CohortKey { app: AppIx(0), zone: 0, anchor, segment: None, day: Day(10) };
    let counts: Vec<(i32, i64)> = curves
        .cohort(&key)
        .unwrap()
        .payments
        .iter()
        .map(|(day, sums)| (day.0, sums.count))
        .collect();
    assert_eq!(counts, [(10, 1), (11, 1), (12, 2)]);
}

#[test]
fn an_emptied_cohort_is_told_until_it_is_filled_again_and_counts_as_changed_when_restored() {
    let dictionary = Dictionary::default();
    let mut curves = curves();
    let (one, less) = (Sums::count(1), Sums::count(-1));
    curves.add(&payment(0, 12), one, &dictionary);
    curves.add(&payment(1, 12), one, &dictionary);
    assert_eq!(curves.take_unstored(&dictionary).emptied, None);
    curves.add(&payment(0, 12), less, &dictionary);
    curves.add(&payment(1, 12), less, &dictionary);
    let emptied = curves.take_unstored(&dictionary).emptied.unwrap();
    let days: Vec<_> = emptied.iter().map(|cohort| (cohort.anchor, cohort.day.0)).collect();
    assert_eq!(days, [(Anchor::FirstPurchase, 10), (Anchor::Install, 9)]);
    assert_eq!(curves.take_unstored(&dictionary).emptied, None);

    let mut opened = self::curves();
    opened.restore_emptied(emptied, &dictionary);
    assert_eq!(opened.take_changed(), curves.take_changed());
    opened.add(&payment(0, 12), one, &dictionary);
    assert_eq!(opened.take_unstored(&dictionary).emptied, Some(Vec::new()));
}

#[test]
fn a_change_is_told_once_and_of_the_first_zone_only() {
    let dictionary = Dictionary::default();
    let mut curves = curves();
    curves.add(&payment(0, 12), Sums::count(1), &dictionary);
    curves.add(&payment(0, 13), Sums::count(1), &dictionary);
    curves.add(&payment(1, 13), Sums::count(1), &dictionary);
    let anchors: Vec<Anchor> =
        curves.take_changed().iter().map(|changed| changed.key.anchor).collect();
    assert_eq!(anchors, [Anchor::FirstPurchase, Anchor::Install]);
    assert_eq!(curves.take_changed(), []);
    assert!(!curves.keeps(1));
}
