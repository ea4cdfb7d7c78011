//! The applications that a configuration asks for, and those that are always there, by name.

use std::sync::Arc;

use super::ask_url::HttpUrls;
use crate::app::Applications;
use crate::app::ivr::Ivr;
use crate::app::test_numbers::{EchoNumber, Milliwatt};
use crate::call::handler::ApplicationHandler;
use crate::config::server::ServerConfig;

/// Those of this configuration.
pub fn applications(config: &ServerConfig) -> Applications {
    let apps = Applications::new();
    let urls = Arc::new(HttpUrls);
    for flow in &config.apps.ivrs {
        let ivr = Ivr::new(flow.clone(), config.apps.prompts.clone()).with_urls(urls.clone());
        apps.add(Arc::new(ivr) as Arc<dyn ApplicationHandler>);
    }
    apps.add(Arc::new(EchoNumber));
    apps.add(Arc::new(Milliwatt));
    apps
}
