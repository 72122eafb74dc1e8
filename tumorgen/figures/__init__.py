"""What people look at: contact sheets and overviews of a dataset, charts and the page of an evaluation."""
