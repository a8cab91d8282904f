-- The functions of pipelines/bronze_to_silver/functions.py, for DuckDB.
SET TimeZone = 'UTC';

-- DuckDB's parser accepts NaN, Infinity and a comma before a bracket, which are not JSON. They are
-- searched for outside strings, and only if a cheap test finds that they may occur: a pattern that
-- starts with one character costs a quarter of one that starts with a set of them.
CREATE OR REPLACE MACRO json_object_valid(line) AS (
    CASE
        WHEN NOT json_valid(line) OR NOT starts_with(ltrim(line, E' \t\r\n'), '{') THEN false
        WHEN regexp_matches(line, ':\s*-?(?:[iI]|[nN][aA])')
            OR regexp_matches(line, ',\s*(?:[}\]]|-?(?:[iI]|[nN][aA]))')
            OR regexp_matches(line, '\[\s*-?(?:[iI]|[nN][aA])')
        THEN
            NOT regexp_matches(
                regexp_replace(line, '"(?:[^"\\]|\\.)*"', '""', 'g'),
                '(?i),\s*[}\]]|nan|inf'
            )
        ELSE true
    END
);

CREATE OR REPLACE MACRO json_names(line) AS json_keys(line);

CREATE OR REPLACE MACRO json_pointers(fields) AS
    list_transform(fields, lambda field: '/' || replace(replace(field, '~', '~0'), '/', '~1'));

CREATE OR REPLACE MACRO json_fields(line, fields) AS
    json_extract(line, json_pointers(fields))::VARCHAR[];

-- Lines that the parser accepts wrongly give null: with a NUL, or a comma before the last bracket.
-- TRY saves a separate check whether the line is JSON.
CREATE OR REPLACE MACRO json_kinds(line, fields) AS CASE
    WHEN ends_with(line, '}') AND NOT contains(line, '\u0000')
        AND NOT ends_with(line, ',}') AND NOT ends_with(line, ' }')
        AND NOT ends_with(line, E'\t}') AND NOT ends_with(line, E'\r}')
    THEN TRY(json_type(line, json_pointers(fields)))
END;

CREATE OR REPLACE MACRO json_values(line, shape) AS TRY(json_transform(line, shape));

CREATE OR REPLACE MACRO present(items) AS list_count(items);

CREATE OR REPLACE MACRO json_unquoted(token) AS CASE
    WHEN contains(token, '\') THEN token::JSON ->> '$'
    ELSE token[2:-2]
END;

CREATE OR REPLACE MACRO utc_to_local(moment, zone) AS timezone(zone, timezone('UTC', moment));

-- In a repeated hour DuckDB takes the later of the two times; the offset of the day before gives
-- the earlier.
CREATE OR REPLACE MACRO later_utc(moment, zone) AS timezone('UTC', timezone(zone, moment));
CREATE OR REPLACE MACRO day_before_utc(moment, zone) AS
    later_utc(moment - INTERVAL 1 DAY, zone) + INTERVAL 1 DAY;
CREATE OR REPLACE MACRO local_to_utc(moment, zone) AS CASE
    WHEN utc_to_local(day_before_utc(moment, zone), zone) = moment THEN day_before_utc(moment, zone)
    ELSE later_utc(moment, zone)
END;
