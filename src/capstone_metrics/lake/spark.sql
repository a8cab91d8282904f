-- The functions of pipelines/bronze_to_silver/functions.py, for Spark; those that parse JSON are in
-- spark_functions.py. The session time zone is UTC, so a timestamp without a zone is in UTC.

-- Only strings with an escape are passed to Python.
CREATE OR REPLACE TEMPORARY FUNCTION json_unquoted(token STRING) RETURNS STRING RETURN coalesce(
    if(contains(token, '\\'), NULL, substring(token, 2, length(token) - 2)),
    json_unescaped(if(contains(token, '\\'), token, NULL))
);

CREATE OR REPLACE TEMPORARY FUNCTION present(items ARRAY<STRING>) RETURNS INT
RETURN size(filter(items, value -> value IS NOT NULL));

CREATE OR REPLACE TEMPORARY FUNCTION utc_to_local(moment TIMESTAMP, zone STRING) RETURNS TIMESTAMP
RETURN from_utc_timestamp(moment, zone);

CREATE OR REPLACE TEMPORARY FUNCTION local_to_utc(moment TIMESTAMP, zone STRING) RETURNS TIMESTAMP
RETURN to_utc_timestamp(moment, zone);
