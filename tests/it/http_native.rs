//! The native questions, against answers worked out by hand.

use serde_json::{Value, json};

use crate::http_support::{NOW, Service, adapty, events, zenovay};

/// `(ltv, revenue)` by age of a cohort.
fn curve(cohort: &Value) -> Vec<(u64, String)> {
    let points = cohort["curve"].as_array().unwrap().iter();
    points.map(|point| (point["age"].as_u64().unwrap(), text(&point["ltv"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("null").to_owned()
}

fn pairs(pairs: &[(u64, &str)]) -> Vec<(u64, String)> {
    pairs.iter().map(|(age, ltv)| (*age, (*ltv).to_owned())).collect()
}

#[tokio::test]
async fn cohorts_by_first_purchase_are_those_of_zenovays_example() {
    let service = Service::with(&zenovay()).await;
    let answer = service.ask("/v1/apps/acme/ltv").await;
    let cohorts = answer["cohorts"].as_array().unwrap();
    assert_eq!(cohorts.len(), 2);
    assert_eq!(cohorts[0]["start"], "2026-01-01");
    assert_eq!(cohorts[0]["end"], "2026-01-31");
    assert_eq!(cohorts[0]["customers"], 2);
    assert_eq!(curve(&cohorts[0]), pairs(&[(0, "20.00"), (1, "22.50"), (2, "27.50")]));
    assert_eq!(cohorts[1]["customers"], 1);
    assert_eq!(curve(&cohorts[1]), pairs(&[(0, "7.00"), (1, "14.00")]));
    // (2 * 20.00 + 1 * 7.00) / 3; March is not over, so age 1 has January only.
    assert_eq!(curve(&answer["total"]), pairs(&[(0, "15.666667"), (1, "22.50")]));
    assert_eq!(answer["total"]["curve"][0]["ltv_micros"], 15_666_667);
    assert_eq!(answer["total"]["curve"][0]["complete"], true);
    assert_eq!(answer["total"]["curve"][1]["complete"], false);
    assert_eq!(answer["total"]["curve"][1]["cohorts"], 1);
    assert_eq!(answer["total"]["to_date"]["revenue"], "69.00");
    let point = &cohorts[0]["curve"][1];
    let expected = json!({
        "age": 1, "complete": true, "cohorts": 1, "heads": 2, "payments": 3, "paid": "50.00",
        "paid_micros": 50_000_000, "refunds": 1, "refunded": "5.00", "refunded_micros": 5_000_000,
        "revenue": "45.00", "revenue_micros": 45_000_000, "ltv": "22.50", "ltv_micros": 22_500_000,
    });
    assert_eq!(*point, expected);
    assert_eq!(cohorts[0]["curve"][2]["complete"], false);
    for (name, value) in [
        ("app", "acme"),
        ("currency", "USD"),
        ("zone", "UTC"),
        ("anchor", "first_purchase"),
        ("width", "month"),
        ("age", "periods"),
        ("measure", "gross"),
        ("per", "customer"),
        ("refunds", "at_refund"),
        ("until", "2026-03-16"),
        ("seen_through", "2026-03-15"),
    ] {
        assert_eq!(answer[name], value, "{name}");
    }
}

#[tokio::test]
async fn refunds_count_at_their_own_age_or_at_their_payments() {
    let service = Service::with(&zenovay()).await;
    let january = "/v1/apps/acme/ltv?from=2026-01-31&to=2026-01-31";
    let answer = service.ask(&format!("{january}&refunds=at_purchase")).await;
    assert_eq!(answer["cohorts"].as_array().unwrap().len(), 1);
    let at_purchase = pairs(&[(0, "17.50"), (1, "22.50"), (2, "27.50")]);
    assert_eq!(curve(&answer["cohorts"][0]), at_purchase);
    // As if it were January 31: nobody knows of the refund.
    let answer = service.ask(&format!("{january}&refunds=at_purchase&until=2026-01-31")).await;
    assert_eq!(curve(&answer["cohorts"][0]), pairs(&[(0, "20.00")]));
    assert_eq!(answer["cohorts"][0]["curve"][0]["complete"], true);
}

#[tokio::test]
async fn cohorts_by_install_per_payer_are_those_of_adaptys_example() {
    let service = Service::with(&adapty()).await;
    let ask = async |more: &str| {
        let path = "/v1/apps/acme/ltv?anchor=install&per=payer";
        service.ask(&format!("{path}{more}")).await
    };
    let answer = ask("&age=days&ages=0,7,31,61&until=2025-06-30").await;
    let cohorts = &answer["cohorts"];
    let january = pairs(&[(0, "0.00"), (7, "10.00"), (31, "10.00"), (61, "15.00")]);
    assert_eq!(curve(&cohorts[0]), january);
    assert_eq!(cohorts[0]["customers"], 3);
    assert_eq!(cohorts[0]["installs"], 3);
    assert_eq!(cohorts[0]["payers"], 2);
    assert_eq!(cohorts[0]["to_date"]["ltv"], "15.00");
    assert_eq!(cohorts[1]["to_date"]["ltv"], "60.00");
    // 60/3, 80/3 and 90/3; day 7 is as day 31.
    let total = pairs(&[(0, "20.00"), (7, "26.666667"), (31, "26.666667"), (61, "30.00")]);
    assert_eq!(curve(&answer["total"]), total);
    let proceeds = ask("&age=days&ages=61&measure=proceeds&until=2025-06-30").await;
    let values = [&proceeds["cohorts"][0], &proceeds["cohorts"][1], &proceeds["total"]];
    assert_eq!(values.map(|cohort| text(&cohort["to_date"]["ltv"])), ["10.50", "42.00", "21.00"]);
    let renewals = ask("&age=payments&ages=1,2&until=2025-06-30").await;
    let revenue = |age: usize| renewals["cohorts"][0]["curve"][age]["revenue"].clone();
    assert_eq!((revenue(0), revenue(1)), (json!("20.00"), json!("30.00")));
    let installs =
        service.ask("/v1/apps/acme/ltv?anchor=install&per=install&until=2025-06-30").await;
    assert_eq!(installs["total"]["to_date"]["ltv"], "22.50");
}

/// The examples by which RevenueCat explains its lifetimes.
#[tokio::test]
async fn each_customer_of_a_month_has_a_clock_of_its_own() {
    // Days 29 and 7 of their customers, though the second lies 33 days into the month's cohort; and a refund on
    // day 10 of what was paid on day 5.
    let customers = "A install  2025-01-02 -
         A purchase 2025-01-31 10.00
         B install  2025-01-28 -
         B purchase 2025-02-04 10.00
         C install  2025-03-01 -
         C purchase 2025-03-06 10.00 tx=c1
         C refund   2025-03-11 10.00 tx=c1";
    let service = Service::with(&events(customers)).await;
    let revenue = async |more: &str| {
        let path = format!("/v1/apps/acme/ltv?anchor=install&age=days{more}");
        let answer = service.ask(&path).await;
        let curve = answer["cohorts"][0]["curve"].as_array().unwrap().clone();
        curve.iter().map(|point| text(&point["revenue"])).collect::<Vec<_>>()
    };
    let january = "&from=2025-01-01&to=2025-01-31";
    assert_eq!(revenue(&format!("{january}&ages=6,7,29,30,60")).await[3..], ["20.00", "20.00"]);
    assert_eq!(revenue(&format!("{january}&ages=6,7,29")).await, ["0.00", "10.00", "20.00"]);
    let march = "&from=2025-03-01&to=2025-03-31&ages=7,14,30";
    assert_eq!(revenue(march).await, ["10.00", "0.00", "0.00"]);
    assert_eq!(revenue(&format!("{march}&refunds=at_purchase")).await, ["0.00"; 3]);
}

#[tokio::test]
async fn filters_and_segments_split_what_they_name() {
    let service = Service::with(&adapty()).await;
    let path = "/v1/apps/acme/ltv?anchor=install&until=2025-06-30";
    let answer = service.ask(&format!("{path}&segment_by=country")).await;
    let segments = answer["segments"].as_array().unwrap();
    let of = |segment: &Value| {
        let total = &segment["total"];
        (text(&segment["value"]), total["customers"].clone(), text(&total["to_date"]["revenue"]))
    };
    let expected = [("GB", 1, "20.00"), ("US", 3, "70.00")];
    let expected = expected.map(|(value, heads, sum)| (value.into(), json!(heads), sum.into()));
    assert_eq!(segments.iter().map(of).collect::<Vec<_>>(), expected);
    assert_eq!(answer["segment_by"], "country");
    assert!(!answer["notes"].as_array().unwrap().is_empty());
    for (filter, revenue) in [
        ("filter.country=US", "70.00"),
        ("filter.country=us,uk", "90.00"),
        ("filter.country=uk", "20.00"),
        ("filter.country=US&filter.product_id=annual", "60.00"),
        ("filter.duration=Monthly", "30.00"),
        ("filter.duration=2 months,Annual".replace(' ', "%20").as_str(), "60.00"),
        ("filter.attributes.ab=", "90.00"),
    ] {
        let answer = service.ask(&format!("{path}&{filter}")).await;
        assert_eq!(answer["total"]["to_date"]["revenue"], revenue, "{filter}");
    }
    let nobody = service.ask(&format!("{path}&filter.attributes.ab=x")).await;
    assert_eq!(nobody["total"], Value::Null);
    // One that no event can have is a mistake, and no reason for an empty answer.
    let refused = service.get(&format!("{path}&filter.duration=P1M")).await;
    let expected = "some of Weekly, Monthly, 2 months, 3 months, 6 months, Annual, Uncategorized";
    assert_eq!((refused.status.as_u16(), &refused.json()["expected"]), (400, &json!(expected)));
    let both = service.ask(&format!("{path}&filter.country=US,GB")).await;
    assert_eq!(both["filters"], json!({"country": ["GB", "US"]}));
}

#[tokio::test]
async fn revenue_is_that_of_the_calendar() {
    let service = Service::with(&adapty()).await;
    let path = "/v1/apps/acme/revenue?until=2025-02-28";
    let answer = service.ask(path).await;
    let bucket =
        |bucket: &Value| ["start", "paid", "refunded", "revenue"].map(|name| text(&bucket[name]));
    let buckets = answer["buckets"].as_array().unwrap();
    let expected =
        [["2025-01-01", "20.00", "0.00", "20.00"], ["2025-02-01", "80.00", "10.00", "70.00"]];
    assert_eq!(buckets.iter().map(bucket).collect::<Vec<_>>(), expected);
    assert_eq!(answer["total"]["revenue"], "90.00");
    assert_eq!((&buckets[0]["payers"], &buckets[1]["payers"]), (&json!(2), &json!(3)));
    assert_eq!(answer["total"]["payers"], 3);
    assert_eq!(buckets[1]["complete"], true);
    let proceeds = service.ask(&format!("{path}&measure=proceeds")).await;
    assert_eq!(proceeds["total"]["revenue_micros"], 63_000_000);
    let segments = service.ask(&format!("{path}&segment_by=country")).await;
    let of = |segment: &Value| (text(&segment["value"]), text(&segment["total"]["revenue"]));
    let of = segments["segments"].as_array().unwrap().iter().map(of).collect::<Vec<_>>();
    assert_eq!(of, [("GB".into(), "20.00".into()), ("US".into(), "70.00".to_string())]);
}

#[tokio::test]
async fn a_zone_moves_days() {
    // Late on January 31 in UTC is February 1 in Berlin.
    let service = Service::with(&events("A purchase 2026-01-31T23:30 10.00")).await;
    let start = async |zone: &str| {
        let answer = service.ask(&format!("/v1/apps/acme/ltv{zone}")).await;
        text(&answer["cohorts"][0]["start"])
    };
    assert_eq!(start("").await, "2026-01-01");
    assert_eq!(start("?zone=Europe/Berlin").await, "2026-02-01");
    let refused = service.get("/v1/apps/acme/ltv?zone=Asia/Tokyo").await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["zones_kept"], json!(["UTC", "Europe/Berlin"]));
}

#[tokio::test]
async fn csv_holds_what_json_holds() {
    let service = Service::with(&adapty()).await;
    let path = "/v1/apps/acme/ltv?anchor=install&segment_by=product_id&until=2025-04-30";
    let json = service.ask(path).await;
    let csv = service.get(&format!("{path}&format=csv")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let mut rows = Vec::new();
    let mut of_json = |row: &str, segment: &str, cohort: &Value| {
        for point in cohort["curve"].as_array().unwrap() {
            let plain = |value: &Value| match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let (to_date, mut fields) = (&cohort["to_date"], vec![row.into(), segment.into()]);
            let names = ["start", "end", "customers", "payers", "installs"];
            fields.extend(names.map(|name| plain(&cohort[name])));
            fields.extend([plain(&to_date["revenue"]), plain(&to_date["ltv"])]);
            let names = [
                "age", "complete", "cohorts", "heads", "payments", "paid", "refunds", "refunded",
                "revenue", "ltv",
            ];
            fields.extend(names.map(|name| plain(&point[name])));
            rows.push(fields);
        }
    };
    let mut group = |prefix: &str, segment: &str, group: &Value| {
        of_json(&format!("{prefix}total"), segment, &group["total"]);
        for cohort in group["cohorts"].as_array().unwrap() {
            of_json(&format!("{prefix}cohort"), segment, cohort);
        }
    };
    group("", "", &json);
    for segment in json["segments"].as_array().unwrap() {
        group("segment_", segment["value"].as_str().unwrap(), segment);
    }
    let notes = json["notes"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join("; ");
    assert!(rows.len() > 10 && !notes.is_empty());
    let mut reader = csv::Reader::from_reader(csv.text.as_bytes());
    let read: Vec<Vec<String>> = reader
        .records()
        .map(|record| record.unwrap().iter().map(str::to_owned).collect())
        .collect();
    // The notes are about the whole answer, so they are said once.
    let said = std::iter::once(notes).chain(std::iter::repeat(String::new()));
    for (row, notes) in rows.iter_mut().zip(said) {
        row.push(notes);
    }
    assert_eq!(read, rows);
    let revenue = service.get("/v1/apps/acme/revenue?format=csv&until=2025-02-28").await;
    let expected = "row,segment,start,end,complete,payers,payments,paid,refunds,refunded,revenue,\
                    unplaced_refunds,unplaced_refunded,notes\n\
                    total,,2025-01-01,2025-02-28,true,3,5,100.00,1,10.00,90.00,0,0.00,\n\
                    bucket,,2025-01-01,2025-01-31,true,2,2,20.00,0,0.00,20.00,0,0.00,\n\
                    bucket,,2025-02-01,2025-02-28,true,3,3,80.00,1,10.00,70.00,0,0.00,\n";
    assert_eq!(revenue.text, expected);
}

#[tokio::test]
async fn every_answer_says_as_of_which_input_it_is_and_how_old() {
    let service = Service::with(&zenovay()).await;
    // Newest event: March 5, 09:00. Now: March 16, 15:00.
    let age = 11 * 86_400 + 6 * 3_600;
    for path in [
        "/v1/apps/acme/ltv",
        "/v1/apps/other/ltv",
        "/v1/apps/acme/revenue",
        "/v1/apps/acme/customers/A",
        "/v1/suspended",
        "/v1/dead-letters",
    ] {
        let answer = service.get(path).await;
        let body = answer.json();
        assert_eq!(body["as_of"], json!({"0": 0, "1": 7}), "{path}");
        assert_eq!(body["newest_event_at"], "2026-03-05T09:00:00Z", "{path}");
        assert_eq!(body["data_age_seconds"], age, "{path}");
        assert_eq!(answer.header("x-ltvstream-as-of"), "0:0,1:7", "{path}");
        assert_eq!(answer.header("x-ltvstream-data-age-seconds"), age.to_string(), "{path}");
    }
    let csv = service.get("/v1/apps/acme/ltv?format=csv").await;
    assert_eq!(csv.header("x-ltvstream-as-of"), "0:0,1:7");
    assert_eq!(csv.header("x-ltvstream-data-age-seconds"), age.to_string());
    let empty = Service::new(crate::http_support::Setup::default()).ask("/v1/apps/acme/ltv").await;
    assert_eq!(empty["newest_event_at"], Value::Null);
    assert_eq!((&empty["total"], &empty["cohorts"]), (&Value::Null, &json!([])));
    assert!(NOW.starts_with("2026-03-16"));
}

#[tokio::test]
async fn a_customer_has_a_ledger_with_standings() {
    let service = Service::with(&events(
        "A purchase 2026-01-05 10.00 tx=a1 proceeds_micros=7000000 country=de cancellation_reason=none
         A refund   2026-01-07  4.00 tx=a1
         A refund   2026-01-08  7.00 tx=a1
         A refund   2026-01-09  1.00 tx=nowhere
         A purchase 2026-01-10  5.00 environment=sandbox
         A purchase 2026-01-11  9.00
         A void     2026-01-12  - refers_to=A/5
         bb trial_started 2026-01-01 - period=P1W chain=sub
         bb renewal 2026-01-08 3.00 tx=r1 chain=sub period=P1M product_id=p
         bb cancellation 2026-01-09 -",
    ))
    .await;
    let body = service.ask("/v1/apps/acme/customers/A").await;
    let ledger = body["ledger"].as_array().unwrap();
    let standing = |event: &Value| text(&event["standing"]);
    assert_eq!(
        ledger.iter().map(standing).collect::<Vec<_>>(),
        ["payment", "linked_refund", "suspended", "suspended", "apart", "voided", "voiding"]
    );
    assert_eq!(ledger[1]["refunds_event_id"], "A/0");
    assert_eq!(ledger[2]["suspended_because"], "refund_exceeds_payment");
    assert_eq!(ledger[3]["suspended_because"], "payment_missing");
    assert_eq!(ledger[6]["refers_to"], "A/5");
    assert_eq!(ledger[0]["dimensions"]["country"], "DE");
    assert_eq!(ledger[0]["cancellation_reason"], "none");
    assert_eq!(ledger[0]["charge"]["proceeds"], "7.00");
    assert_eq!(body["ltv"]["payments"], 1);
    assert_eq!(body["ltv"]["refunds"], 1);
    assert_eq!(body["ltv"]["gross"]["revenue"], "6.00");
    assert_eq!(body["ltv"]["proceeds"]["paid_micros"], 7_000_000);
    assert_eq!(body["first_payment_at"], "2026-01-05T09:00:00Z");
    let body = service.ask("/v1/apps/acme/customers/bb").await;
    assert_eq!(body["chains"].as_array().unwrap().len(), 1);
    let chain = &body["chains"][0];
    assert_eq!(chain["original_transaction_id"], "sub");
    assert_eq!((&chain["has_trial"], &chain["product_id"]), (&json!(true), &json!("p")));
    assert_eq!(chain["started_at"], "2026-01-01T09:00:00Z");
    assert_eq!(chain["covered_until"], "2026-02-08T09:00:00Z");
    assert_eq!(chain["worth"]["gross"]["revenue"], "3.00");
    assert_eq!(body["ledger"][2]["standing"], "chain_status");
}

#[tokio::test]
async fn what_lies_ahead_of_today_is_listed_and_not_yet_worth_anything() {
    // The clock stands in March.
    let lines = "A purchase 2026-03-16 10.00 tx=a1 chain=s\nA renewal 2026-03-17 5.00 tx=a2 chain=s period=P1M";
    let service = Service::with(&events(lines)).await;
    let customer = service.ask("/v1/apps/acme/customers/A").await;
    assert_eq!(customer["ledger"].as_array().unwrap().len(), 2);
    let worth = |worth: &Value| (worth["payments"].clone(), worth["gross"]["revenue"].clone());
    let of_today = (json!(1), json!("10.00"));
    assert_eq!(worth(&customer["ltv"]), of_today);
    assert_eq!(worth(&customer["chains"][0]["worth"]), of_today);
    let revenue = service.ask("/v1/apps/acme/revenue").await;
    assert_eq!(revenue["total"]["revenue"], "10.00");
    // Days ahead age nobody, whatever is asked for.
    let ages = async |until: &str| {
        let path = format!("/v1/apps/acme/ltv?width=day&age=days&ages=0,1,30{until}");
        let answer = service.ask(&path).await;
        let cells = answer["cohorts"][0]["curve"].as_array().unwrap().clone();
        cells.iter().map(|cell| cell["age"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ages("").await, [json!(0)]);
    assert_eq!(ages("&until=2030-01-01").await, [json!(0)]);
}

#[tokio::test]
async fn unknown_and_erased_customers_are_told_apart() {
    let service =
        Service::with(&events("A purchase 2026-01-05 10.00\nA forget 2026-01-06 -")).await;
    let kind = async |path: &str| {
        let answer = service.get(path).await;
        (answer.status.as_u16(), text(&answer.json()["type"]))
    };
    let urn = |name: &str| format!("urn:ltvstream:problem:{name}");
    assert_eq!(kind("/v1/apps/acme/customers/A").await, (410, urn("customer-forgotten")));
    assert_eq!(kind("/v1/apps/acme/customers/Z").await, (404, urn("unknown-customer")));
    assert_eq!(kind("/v1/apps/nope/customers/A").await, (404, urn("unknown-app")));
    // What the customer paid stays in the sums.
    let ltv = service.ask("/v1/apps/acme/ltv").await;
    assert_eq!(ltv["total"]["to_date"]["revenue"], "10.00");
}

#[tokio::test]
async fn of_forgotten_customers_the_dead_letters_tell_no_more_than_that_something_was_refused() {
    const NDJSON: &str = "application/x-ndjson";
    let payments =
        "A purchase 2026-01-05 10.00\nBB purchase 2026-01-05 10.00\nC purchase 2026-01-05 10.00";
    let service = Service::with(&events(payments)).await;
    let conflicts = events(payments).replace("10000000", "20000000");
    assert_eq!(service.post(NDJSON, conflicts).await.status, 422);
    let letters = async || {
        let body = service.ask("/v1/dead-letters").await;
        let letters = body["dead_letters"].as_array().unwrap().clone();
        let told = |letter: &Value| {
            let bytes = letter["value"]["text"].as_str().unwrap_or_default();
            let of = ["\"A\"", "\"BB\"", "\"C\""].into_iter().find(|id| bytes.contains(id));
            (text(&letter["reason"]), of.unwrap_or("nobody"), letter["key"].is_null())
        };
        letters.iter().map(told).collect::<Vec<_>>()
    };
    // A record's key goes, too.
    let conflict = |of| ("conflict".to_owned(), of, of == "nobody");
    assert_eq!(letters().await, ["\"BB\"", "\"A\"", "\"C\""].map(conflict));
    let forget = events("BB forget 2026-01-06 -").replace("BB/0", "BB/8");
    assert_eq!(service.post(NDJSON, forget).await.status, 202);
    assert_eq!(letters().await, ["nobody", "\"A\"", "\"C\""].map(conflict));
    // What comes of it later is refused, and not kept either.
    let late = events("BB purchase 2026-01-07 10.00").replace("BB/0", "BB/9");
    assert_eq!(service.post(NDJSON, late).await.status, 422);
    let refused = ("customer_forgotten".to_owned(), "nobody", true);
    assert_eq!(letters().await[1], refused);
    // Nor what is no event but says whose it would be.
    let malformed = events("BB purchase 2026-01-07 10.00").replace("USD", "dollars");
    assert_eq!(service.post(NDJSON, malformed).await.status, 422);
    let body = service.ask("/v1/dead-letters").await;
    assert_eq!(body["dead_letters"].as_array().unwrap().len(), 5);
    assert!(!body.to_string().contains("\\\"BB\\\""), "{body}");
}

#[tokio::test]
async fn suspended_events_are_listed_page_by_page() {
    let service = Service::with(&events(
        "A  refund 2026-01-05 1.00 tx=x
         A  refund 2026-01-06 1.00 tx=y
         bb void   2026-01-07 - refers_to=e
         cc refund 2026-01-08 1.00 tx=z app=other",
    ))
    .await;
    let all = service.ask("/v1/suspended").await;
    let ids = |body: &Value| {
        let events = body["suspended"].as_array().unwrap().iter();
        events.map(|event| text(&event["event_id"])).collect::<Vec<_>>()
    };
    // Customers with ids of even length are in partition 0.
    assert_eq!(ids(&all), ["bb/2", "cc/3", "A/0", "A/1"]);
    assert_eq!(all["next_cursor"], Value::Null);
    assert_eq!(
        all["suspended"][2],
        json!({
            "app_id": "acme", "customer_id": "A", "event_id": "A/0", "reason": "payment_missing",
            "partition": 1,
        })
    );
    let by_reason = service.ask("/v1/suspended?reason=void_target_missing").await;
    assert_eq!(ids(&by_reason), ["bb/2"]);
    assert_eq!(ids(&service.ask("/v1/suspended?app=other").await), ["cc/3"]);
    let mut paged = Vec::new();
    let mut path = "/v1/suspended?limit=1".to_owned();
    loop {
        let page = service.ask(&path).await;
        paged.extend(ids(&page));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/suspended?limit=1&cursor={cursor}");
    }
    assert_eq!(paged, ids(&all));
    // What takes effect between two pages hides none of the others.
    let page = service.ask("/v1/suspended?limit=3").await;
    assert_eq!(ids(&page), ["bb/2", "cc/3", "A/0"]);
    let payment = events("A purchase 2026-01-04 10.00 tx=x");
    let payment = payment.replace("\"A/0\"", "\"A/paid\"");
    assert_eq!(service.post("application/x-ndjson", payment).await.status, 202);
    let cursor = text(&page["next_cursor"]);
    let path = format!("/v1/suspended?limit=3&cursor={cursor}");
    assert_eq!(ids(&service.ask(&path).await), ["A/1"]);
    assert_eq!(service.get("/v1/suspended?cursor=0.zz.1").await.status, 400);
}

#[tokio::test]
async fn dead_letters_show_bytes_and_reasons() {
    let service = Service::new(crate::http_support::Setup::default());
    let lines = format!("{}{{\"event_id\":\"e\"}}\n[1]\n", zenovay());
    let answer = service.post("application/x-ndjson", lines).await.json();
    assert_eq!(answer["refused"], 2);
    let body = service.ask("/v1/dead-letters?limit=1").await;
    let letters = body["dead_letters"].as_array().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["reason"], "missing_app_id");
    assert_eq!(letters[0]["partition"], 0);
    assert_eq!(letters[0]["offset"], 0);
    assert_eq!(letters[0]["value"], json!({"text": "{\"event_id\":\"e\"}"}));
    assert_eq!(letters[0]["key"], json!({"base64": "//4="}));
    assert_eq!(body["next_cursor"], "0:1");
    let rest = service.ask("/v1/dead-letters?cursor=0:1").await;
    assert_eq!(rest["dead_letters"][0]["reason"], "malformed_json");
    assert_eq!(rest["next_cursor"], Value::Null);
}
