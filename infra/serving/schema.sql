-- The serving database: roles, schema, publication ledger, change feed and privileges.
-- Run it as the administrator, in that database; safe to repeat. It sets no passwords: set those of
-- loader and bi_reader with \password.

-- serving_owner owns the objects and cannot log in. loader writes rows and becomes the owner only
-- by SET ROLE, to alter a table whose declaration changed. bi_reader reads.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'serving_owner') THEN
        CREATE ROLE serving_owner NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'loader') THEN
        CREATE ROLE loader LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bi_reader') THEN
        CREATE ROLE bi_reader LOGIN;
    END IF;
    -- creating a role does not make its creator a member
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT serving_owner TO %I', current_user);
    END IF;
    -- migrate a schema created before serving_owner existed
    IF EXISTS (
        SELECT FROM pg_namespace WHERE nspname = 'serving' AND nspowner = 'loader'::regrole
    ) THEN
        REASSIGN OWNED BY loader TO serving_owner;
        ALTER TABLE IF EXISTS serving.publications ALTER publication DROP IDENTITY IF EXISTS;
    END IF;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO loader', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO bi_reader', current_database());
END
$$;
ALTER ROLE loader NOINHERIT;
GRANT serving_owner TO loader;
ALTER ROLE bi_reader SET statement_timeout = '1min';
ALTER ROLE bi_reader SET idle_in_transaction_session_timeout = '10min';

REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS serving AUTHORIZATION serving_owner;

SET ROLE serving_owner;
GRANT USAGE ON SCHEMA serving TO loader, bi_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA serving
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO loader;
ALTER DEFAULT PRIVILEGES IN SCHEMA serving GRANT SELECT ON TABLES TO bi_reader;

-- the ledger of publications; marts: key, measures, rows, totals and SHA-256 of each, and the
-- version of its file in the lake
CREATE TABLE IF NOT EXISTS serving.publications (
    publication bigint PRIMARY KEY,
    published_at timestamptz NOT NULL DEFAULT now(),
    gold_sha256 text NOT NULL,
    marts jsonb NOT NULL,
    rows_changed bigint NOT NULL,
    rows_deleted bigint NOT NULL
);

-- which keys each publication inserted, updated and deleted; old entries are pruned
CREATE TABLE IF NOT EXISTS serving.changes (
    publication bigint NOT NULL,
    mart text NOT NULL,
    key jsonb NOT NULL,
    change text NOT NULL CHECK (change IN ('insert', 'update', 'delete'))
);
-- CREATE INDEX IF NOT EXISTS would wait for writers of the table
DO $$
BEGIN
    IF to_regclass('serving.changes_publication') IS NULL THEN
        CREATE INDEX changes_publication ON serving.changes (publication);
    END IF;
END
$$;

-- the SHA-256 of each published day of each mart; a mart without days has a single part, ''
CREATE TABLE IF NOT EXISTS serving.parts (
    mart text NOT NULL,
    part text NOT NULL,
    sha256 text NOT NULL,
    PRIMARY KEY (mart, part)
);

-- copies of the run records in the lake, synchronised when a run publishes
CREATE TABLE IF NOT EXISTS serving.runs (
    run text PRIMARY KEY,
    state text NOT NULL,
    begun timestamptz NOT NULL,
    ended timestamptz,
    record jsonb NOT NULL
);

-- when a network changed what it counts, as declared
CREATE TABLE IF NOT EXISTS serving.definitions (
    date date NOT NULL,
    rede_social text NOT NULL,
    measure text NOT NULL,
    text_en text NOT NULL,
    text_pt text NOT NULL,
    PRIMARY KEY (date, rede_social, measure)
);

-- The net change of each key since a publication, which is identified by its number and time,
-- because a recreated database numbers its publications from 1 again.
CREATE OR REPLACE FUNCTION serving.changes_since(last bigint, last_published_at timestamptz)
RETURNS TABLE (mart text, key jsonb, change text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM serving.publications AS p
        WHERE p.publication = last AND p.published_at = last_published_at
    ) THEN
        RAISE 'publication % of % is not one of this database', last, last_published_at
            USING HINT = 'Read the tables in full, then continue from the latest publication.';
    END IF;
    IF EXISTS (
        SELECT FROM serving.publications AS p
        WHERE p.publication > last
            AND p.rows_changed + p.rows_deleted > 0
            AND NOT EXISTS (SELECT FROM serving.changes AS c WHERE c.publication = p.publication)
    ) THEN
        RAISE 'the changes after publication % are no longer available', last
            USING HINT = 'Read the tables in full, then continue from the latest publication.';
    END IF;
    RETURN QUERY
    WITH ends AS (
        SELECT
            c.mart AS of_mart,
            c.key AS of_key,
            (array_agg(c.change ORDER BY c.publication))[1] AS first_change,
            (array_agg(c.change ORDER BY c.publication DESC))[1] AS last_change
        FROM serving.changes AS c
        WHERE c.publication > last
        GROUP BY c.mart, c.key
    )
    SELECT
        e.of_mart,
        e.of_key,
        CASE
            WHEN e.last_change = 'delete' THEN 'delete'
            WHEN e.first_change = 'insert' THEN 'insert'
            ELSE 'update'
        END
    FROM ends AS e
    WHERE NOT (e.first_change = 'insert' AND e.last_change = 'delete');
END
$$;

-- the marts
CREATE TABLE IF NOT EXISTS "serving"."gold_video_views_dia_rede_social" (
    "data_postagem" date NOT NULL,
    "rede_social" text NOT NULL,
    "total_views" bigint NOT NULL,
    "total_likes" bigint,
    "total_comentarios" bigint,
    "total_videos" bigint NOT NULL,
    PRIMARY KEY ("data_postagem", "rede_social")
);

CREATE TABLE IF NOT EXISTS "serving"."gold_video_views_dia_faculdade" (
    "data_postagem" date NOT NULL,
    "faculdade" text NOT NULL,
    "total_views" bigint NOT NULL,
    "total_likes" bigint,
    "total_comentarios" bigint,
    "total_videos" bigint NOT NULL,
    PRIMARY KEY ("data_postagem", "faculdade")
);

CREATE TABLE IF NOT EXISTS "serving"."gold_video_views_dia_canal" (
    "data_postagem" date NOT NULL,
    "rede_social" text NOT NULL,
    "faculdade" text NOT NULL,
    "total_views" bigint NOT NULL,
    "total_likes" bigint,
    "total_comentarios" bigint,
    "total_videos" bigint NOT NULL,
    PRIMARY KEY ("data_postagem", "rede_social", "faculdade")
);

CREATE TABLE IF NOT EXISTS "serving"."gold_video_crescimento_dia_rede_social" (
    "data_observacao" date NOT NULL,
    "rede_social" text NOT NULL,
    "views_ganhas" bigint,
    "likes_ganhos" bigint,
    "comentarios_ganhos" bigint,
    "videos_observados" bigint NOT NULL,
    PRIMARY KEY ("data_observacao", "rede_social")
);

CREATE TABLE IF NOT EXISTS "serving"."gold_video_crescimento_dia_faculdade" (
    "data_observacao" date NOT NULL,
    "faculdade" text NOT NULL,
    "views_ganhas" bigint,
    "likes_ganhos" bigint,
    "comentarios_ganhos" bigint,
    "videos_observados" bigint NOT NULL,
    PRIMARY KEY ("data_observacao", "faculdade")
);

CREATE TABLE IF NOT EXISTS "serving"."gold_video_crescimento_dia_canal" (
    "data_observacao" date NOT NULL,
    "rede_social" text NOT NULL,
    "faculdade" text NOT NULL,
    "views_ganhas" bigint,
    "likes_ganhos" bigint,
    "comentarios_ganhos" bigint,
    "videos_observados" bigint NOT NULL,
    PRIMARY KEY ("data_observacao", "rede_social", "faculdade")
);

CREATE TABLE IF NOT EXISTS "serving"."gold_video_views_7d_dia_rede_social" (
    "data_postagem" date NOT NULL,
    "rede_social" text NOT NULL,
    "views_7d" bigint NOT NULL,
    "videos_7d" bigint NOT NULL,
    PRIMARY KEY ("data_postagem", "rede_social")
);

CREATE TABLE IF NOT EXISTS "serving"."gold_video_views_7d_dia_faculdade" (
    "data_postagem" date NOT NULL,
    "faculdade" text NOT NULL,
    "views_7d" bigint NOT NULL,
    "videos_7d" bigint NOT NULL,
    PRIMARY KEY ("data_postagem", "faculdade")
);

CREATE TABLE IF NOT EXISTS "serving"."gold_video_views_7d_dia_canal" (
    "data_postagem" date NOT NULL,
    "rede_social" text NOT NULL,
    "faculdade" text NOT NULL,
    "views_7d" bigint NOT NULL,
    "videos_7d" bigint NOT NULL,
    PRIMARY KEY ("data_postagem", "rede_social", "faculdade")
);

CREATE TABLE IF NOT EXISTS "serving"."gold_video" (
    "rede_social" text NOT NULL,
    "video_id" text NOT NULL,
    "data_postagem" date NOT NULL,
    "hora_postagem" bigint,
    "faculdade" text NOT NULL,
    "titulo_video" text NOT NULL,
    "categoria" text NOT NULL,
    "total_views" bigint NOT NULL,
    "total_likes" bigint,
    "total_comentarios" bigint,
    "views_ganhas_7d" bigint,
    "views_7d" bigint,
    PRIMARY KEY ("rede_social", "video_id")
);

CREATE TABLE IF NOT EXISTS "serving"."gold_canal_dia" (
    "data_observacao" date NOT NULL,
    "rede_social" text NOT NULL,
    "faculdade" text NOT NULL,
    "qtd_inscritos" bigint,
    "posts" bigint NOT NULL,
    "views_ganhas" bigint,
    PRIMARY KEY ("data_observacao", "rede_social", "faculdade")
);

-- restore revoked privileges; the ledger is append-only
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA serving TO loader;
GRANT SELECT ON ALL TABLES IN SCHEMA serving TO bi_reader;
REVOKE UPDATE, DELETE ON serving.publications FROM loader;
REVOKE UPDATE ON serving.changes FROM loader;
RESET ROLE;
