-- The schema of a serving database and the rights on it. Run as its administrator; safe to repeat.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS serving AUTHORIZATION loader;
GRANT USAGE ON SCHEMA serving TO bi_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA serving TO bi_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE loader IN SCHEMA serving GRANT SELECT ON TABLES TO bi_reader;
