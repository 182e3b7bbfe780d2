//! The month's limit: at thirty requests a minute it takes hours to use it up from outside.

use crate::http::router;
use crate::http::tests::{NOW, ask, state};

use super::*;

const PATH: &str = "/api/external/v1/revenue/acme/ltv";

#[tokio::test]
async fn the_ten_thousandth_request_of_a_month_is_the_last_one_answered() {
    let state = state();
    let now = Timestamp::parse_rfc3339(NOW).unwrap();
    // Requests so far, without waiting for the minutes: the first of them brings a bucket along
    // in which there is room for all.
    let roomy = Allowance { requests: NonZeroU32::MIN.saturating_add(19_999), ..ALLOWANCE };
    for used in 1..10_000 {
        let charged = state.limiters.charge(&roomy, "key ".to_owned(), None, now);
        assert_eq!(charged.unwrap().used, used);
    }
    let router = router(state);
    let (status, headers, body) = ask(&router, PATH).await;
    assert_eq!((status.as_u16(), &headers["x-usage-monthly"]), (200, &"10000".parse().unwrap()));
    assert_eq!(body["success"], true);
    for _ in 0..2 {
        let (status, headers, body) = ask(&router, PATH).await;
        assert_eq!(status, 429);
        let message =
            "Monthly limit exceeded (10000 requests). It starts anew at 2026-04-01T00:00:00.000Z";
        let error = serde_json::json!({"message": message, "code": "MONTHLY_LIMIT_EXCEEDED",
                                       "timestamp": "2026-03-16T15:00:00.000Z"});
        assert_eq!(body, serde_json::json!({"success": false, "error": error}));
        for (name, value) in [
            ("x-usage-monthly", "10000"),
            ("x-usage-limit", "10000"),
            ("x-usage-total", "10000"),
            ("x-usage-reset", "2026-04-01T00:00:00.000Z"),
            ("x-ratelimit-limit", "30"),
            // Fifteen days and nine hours.
            ("retry-after", "1328400"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        assert!(is_uuid(headers["x-request-id"].to_str().unwrap()));
    }
}
