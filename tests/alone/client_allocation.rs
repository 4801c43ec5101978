//! Finding the client of a request allocates nothing.

use std::hint::black_box;

use http::{HeaderMap, HeaderValue};
use stats_alloc::Region;
use tollgate::http::{ClientAddress, ProxyHeader};

use crate::ALLOCATOR;

fn allocations(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    change.allocations + change.reallocations
}

#[test]
fn a_client_is_found_without_allocating_however_long_its_headers() {
    alone!(a_client_is_found_without_allocating_however_long_its_headers);
    assert_ne!(allocations(|| drop(black_box(Box::new(1)))), 0, "it counts");

    let peer = Some([10, 0, 0, 1].into());
    let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap());
    for header in [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded] {
        let (name, entry) = match header {
            ProxyHeader::XForwardedFor => ("x-forwarded-for", "[2001:db8::1]:80,"),
            ProxyHeader::Forwarded => ("forwarded", "for=\"[2001:db8::\\1]:80\",by=\"\\\",\","),
        };
        let mut headers = HeaderMap::new();
        for _ in 0..10 {
            let line = entry.repeat(1_000) + entry.trim_end_matches(',');
            headers.append(name, HeaderValue::try_from(line).unwrap());
        }
        for how in [
            ClientAddress::peer(),
            ClientAddress::hops(64),
            ClientAddress::networks(networks),
            ClientAddress::trusting_everybody(),
        ] {
            let how = how.header(header);
            let allocated = allocations(|| {
                let client = black_box(how.of(&headers, peer)).unwrap();
                assert!(["10.0.0.1", "2001:db8::/64"].contains(&client.as_str()));
            });
            assert_eq!(allocated, 0, "{how:?}");
        }
    }
}
