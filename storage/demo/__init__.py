"""A small world to try Cohort with: two companies, their catalogues and their documents."""
