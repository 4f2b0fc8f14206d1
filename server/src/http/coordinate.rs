//! `/v1/coordinate`: this version keeps no network coordinates, and says so. Updates are not taken (404): taking them and
//! forgetting them would be a lie.

use hyper::Response;
use rollcall_api::query::ReadOptions;
use rollcall_edge::{Body, Error, answer};
use rollcall_state::Answer;
use serde::Serialize;

use super::blocking::read;
use super::call::Call;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Area<'a> {
    datacenter: &'a str,
    #[serde(rename = "AreaID")]
    area_id: &'static str,
    coordinates: [(); 0],
}

/// `GET /v1/coordinate/datacenters`: ours, with nobody in it.
pub(super) fn datacenters(call: &Call<'_>) -> Response<Body> {
    call.json(&[Area {
        datacenter: &call.edge.config().datacenter,
        area_id: "wan",
        coordinates: [],
    }])
}

/// `GET /v1/coordinate/nodes`: none.
pub(super) async fn nodes(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let options = ReadOptions::parse(call.query)?;
    let nothing = |_: &_| Answer {
        index: 1,
        value: (),
    };
    let (meta, ()) = read(call, options, Vec::new, nothing).await?;
    let mut response = call.json::<[(); 0]>(&[]);
    meta.add_to(&mut response);
    Ok(response)
}

/// `GET /v1/coordinate/node/NAME`: not known.
pub(super) fn node(_: &Call<'_>) -> Response<Body> {
    answer::not_found()
}
