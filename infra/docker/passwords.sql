-- Sets the passwords of the roles of the serving schema, from environment variables.
\set ON_ERROR_STOP on
\getenv loader CAPSTONE_LOADER_PASSWORD
\getenv reader CAPSTONE_READER_PASSWORD
ALTER ROLE loader PASSWORD :'loader';
ALTER ROLE bi_reader PASSWORD :'reader';
