"""The warehouse room: landing tables, publishing, ledger, quarantine, and the dbt build."""
