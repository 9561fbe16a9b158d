-- A database as release 0.1.0 left it, with messages that wait in the outbox and one in the dead letters.
-- The schema is what its `alembic upgrade head --sql` printed. The rows are from `pg_dump --data-only --rows-per-insert=100`, after
-- its API and workers had processed some requests and were then stopped; only the date is another.

SET lock_timeout = '5s';

BEGIN;

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE audit_log (
    id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    actor UUID,
    action TEXT NOT NULL,
    about UUID,
    outcome TEXT NOT NULL,
    ip TEXT,
    request_id TEXT,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id)
);

CREATE INDEX audit_log_about_at_id_idx ON audit_log (about, at, id);

CREATE INDEX audit_log_actor_at_id_idx ON audit_log (actor, at, id);

CREATE INDEX audit_log_at_id_idx ON audit_log (at, id);

CREATE INDEX audit_log_request_id_idx ON audit_log (request_id);

CREATE TABLE challenges (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    code_digest BYTEA NOT NULL,
    tries SMALLINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT challenges_pkey PRIMARY KEY (id)
);

CREATE INDEX challenges_created_at_idx ON challenges (created_at);

CREATE INDEX challenges_user_id_created_at_idx ON challenges (user_id, created_at);

CREATE TABLE dead_letters (
    id UUID NOT NULL,
    message_id UUID NOT NULL,
    task TEXT NOT NULL,
    lane TEXT NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    traceback JSONB NOT NULL,
    headers JSONB NOT NULL,
    body JSONB,
    raw BYTEA,
    content_type TEXT NOT NULL,
    request_id TEXT,
    first_dead_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    last_dead_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    times INTEGER NOT NULL,
    status TEXT DEFAULT 'open' NOT NULL,
    note TEXT,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (id),
    CONSTRAINT dead_letters_status_check CHECK (status in ('open', 'replayed', 'discarded')),
    CONSTRAINT dead_letters_message_id_key UNIQUE (message_id)
);

CREATE INDEX dead_letters_last_dead_at_idx ON dead_letters (last_dead_at);

CREATE INDEX dead_letters_open_idx ON dead_letters (task, reason, error) WHERE status = 'open';

CREATE INDEX dead_letters_request_id_idx ON dead_letters (request_id);

CREATE TABLE failures (
    key BYTEA NOT NULL,
    times TIMESTAMP WITH TIME ZONE[] NOT NULL,
    blocks INTEGER NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT failures_pkey PRIMARY KEY (key)
);

CREATE INDEX failures_updated_at_idx ON failures (updated_at);

CREATE TABLE mails (
    id UUID NOT NULL,
    template TEXT NOT NULL,
    status TEXT NOT NULL,
    request_id TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT mails_pkey PRIMARY KEY (id),
    CONSTRAINT mails_status_check CHECK (status in ('sending', 'sent', 'expired', 'undeliverable'))
);

CREATE INDEX mails_created_at_idx ON mails (created_at);

CREATE TABLE operations (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    fingerprint TEXT,
    resource TEXT,
    problem JSONB,
    request_id TEXT,
    actor UUID,
    cause UUID,
    spooled BOOLEAN DEFAULT false NOT NULL,
    attempts INTEGER DEFAULT '1' NOT NULL,
    accepted_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT operations_pkey PRIMARY KEY (id),
    CONSTRAINT operations_status_check CHECK (status in ('succeeded', 'failed'))
);

CREATE INDEX operations_finished_at_idx ON operations (finished_at);

CREATE INDEX operations_request_id_idx ON operations (request_id);

CREATE TABLE outbox (
    id UUID NOT NULL,
    position BIGINT GENERATED ALWAYS AS IDENTITY,
    aggregate TEXT NOT NULL,
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    body JSONB NOT NULL,
    headers JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (id),
    CONSTRAINT outbox_position_key UNIQUE (position)
);

CREATE INDEX outbox_aggregate_position_idx ON outbox (aggregate, position);

CREATE INDEX outbox_created_at_idx ON outbox (created_at);

CREATE TABLE product_imports (
    id UUID NOT NULL,
    media_type TEXT NOT NULL,
    content BYTEA NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER DEFAULT '0' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT product_imports_pkey PRIMARY KEY (id)
);

CREATE INDEX product_imports_created_at_idx ON product_imports (created_at);

CREATE TABLE products (
    id UUID NOT NULL,
    sku TEXT,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT,
    price NUMERIC(12, 2) NOT NULL,
    stock INTEGER NOT NULL,
    low_stock_threshold INTEGER NOT NULL,
    is_active BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    version INTEGER NOT NULL,
    words TSVECTOR GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, regexp_replace(((name || ' '::text) || COALESCE(description, ''::text)), '[!-/:-@[-`{-~]+'::text, ' '::text, 'g'::text))) STORED,
    in_stock BOOLEAN GENERATED ALWAYS AS (stock > 0) STORED,
    CONSTRAINT products_pkey PRIMARY KEY (id),
    CONSTRAINT products_price_check CHECK (price >= 0),
    CONSTRAINT products_stock_check CHECK (stock >= 0),
    CONSTRAINT products_sku_key UNIQUE (sku)
)
 WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);

CREATE INDEX products_created_at_id_idx ON products (created_at, id) INCLUDE (price, is_active, in_stock);

CREATE INDEX products_name_id_idx ON products (name, id) INCLUDE (price, is_active, in_stock);

CREATE INDEX products_price_id_idx ON products (price, id) INCLUDE (created_at, name, is_active, in_stock);

CREATE INDEX products_words_idx ON products USING gin (words);

CREATE TABLE sessions (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    generation INTEGER NOT NULL,
    refresh_fingerprint TEXT NOT NULL,
    spent JSONB NOT NULL,
    ip TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT sessions_pkey PRIMARY KEY (id)
);

CREATE INDEX sessions_last_used_at_idx ON sessions (last_used_at);

CREATE INDEX sessions_live_idx ON sessions (user_id, last_used_at) WHERE ended_at is null;

CREATE INDEX sessions_revoked_at_idx ON sessions (revoked_at);

CREATE TABLE users (
    id UUID NOT NULL,
    email TEXT NOT NULL,
    username TEXT,
    username_key TEXT,
    wanted_username TEXT,
    name TEXT NOT NULL,
    first_name TEXT,
    middle_name TEXT,
    last_name TEXT,
    phone_number TEXT,
    gender TEXT,
    age SMALLINT,
    roles TEXT[] NOT NULL,
    is_active BOOLEAN NOT NULL,
    email_verified BOOLEAN NOT NULL,
    pending BOOLEAN NOT NULL,
    two_step BOOLEAN NOT NULL,
    language TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_username_key_key UNIQUE (username_key)
);

CREATE INDEX users_created_at_id_idx ON users (created_at, id);

CREATE UNIQUE INDEX users_email_key ON users (email) WHERE not pending;

CREATE INDEX users_email_prefix_idx ON users (email text_pattern_ops);

CREATE INDEX users_name_prefix_idx ON users (lower(name) text_pattern_ops);

CREATE INDEX users_pending_email_idx ON users (email) WHERE pending;

CREATE INDEX users_roles_idx ON users USING gin (roles);

CREATE INDEX users_username_prefix_idx ON users (username_key text_pattern_ops);

CREATE TABLE links (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    purpose TEXT NOT NULL,
    occasion TEXT NOT NULL,
    email TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT links_pkey PRIMARY KEY (id),
    FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX links_expires_at_idx ON links (expires_at);

CREATE INDEX links_user_id_purpose_idx ON links (user_id, purpose);

CREATE TABLE product_import_failures (
    import_id UUID NOT NULL,
    line INTEGER NOT NULL,
    problem JSONB NOT NULL,
    CONSTRAINT product_import_failures_pkey PRIMARY KEY (import_id, line),
    FOREIGN KEY(import_id) REFERENCES product_imports (id) ON DELETE CASCADE
);

CREATE TABLE stock_movements (
    id UUID NOT NULL,
    position BIGINT GENERATED ALWAYS AS IDENTITY,
    product_id UUID NOT NULL,
    quantity INTEGER NOT NULL,
    balance INTEGER NOT NULL,
    reason TEXT,
    actor_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT stock_movements_pkey PRIMARY KEY (id),
    CONSTRAINT stock_movements_balance_check CHECK (balance >= 0),
    CONSTRAINT stock_movements_quantity_check CHECK (quantity <> 0),
    FOREIGN KEY(product_id) REFERENCES products (id)
);

CREATE INDEX stock_movements_product_id_position_idx ON stock_movements (product_id, position);

-- The audit log only grows. Retention is the one way out: a transaction that says
-- SET LOCAL audit_log.purging = 'on' may delete. Nothing may change an entry.
CREATE FUNCTION audit_log_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' AND current_setting('audit_log.purging', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_log only grows: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER audit_log_only_grows BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_only_grows();

CREATE TRIGGER audit_log_is_not_truncated BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_only_grows();

INSERT INTO alembic_version (version_num) VALUES ('0001') RETURNING alembic_version.version_num;

COMMIT;

INSERT INTO public.audit_log VALUES
	('01a21e25-7a3a-74b5-b34b-545e6eb88b2a', '2025-01-15 17:55:02.33123+00', NULL, 'users.create_admin', '01a21e25-7a16-7630-a3bd-f7051c5ba031', 'succeeded', NULL, 'cli-01a21e257a167630a3bdf70452e24ab0'),
	('01a21e25-7cd1-7769-ab58-074efcff1d9f', '2025-01-15 17:55:02.993249+00', NULL, 'auth.sign_in', '01a21e25-7a16-7630-a3bd-f7051c5ba031', 'succeeded', '127.0.0.1', '01a21e257ca574e882895b91b629eb2a'),
	('01a21e25-7d14-7694-b33d-c8e87a48d11c', '2025-01-15 17:55:03.060682+00', NULL, 'users.create_user', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'succeeded', '127.0.0.1', '01a21e257cd872369680f72b5f25fa04'),
	('01a21e25-7d39-77ee-8c82-5c9ad65bc51b', '2025-01-15 17:55:03.097539+00', '01a21e25-7a16-7630-a3bd-f7051c5ba031', 'products.create_product', '01a21e25-7d1d-7026-877d-1f2d5061072f', 'succeeded', '127.0.0.1', '01a21e257d1c75b49c9592309925df21'),
	('01a21e25-7d5f-7055-a211-5cb9b8cae7e2', '2025-01-15 17:55:03.135317+00', '01a21e25-7a16-7630-a3bd-f7051c5ba031', 'products.remove_stock', '01a21e25-7d1d-7026-877d-1f2d5061072f', 'succeeded', '127.0.0.1', '01a21e257d407612b1a2cb98f8dc85f1'),
	('01a21e25-7d70-7385-90df-775b3ff50a94', '2025-01-15 17:55:03.152126+00', NULL, 'auth.sign_in', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'succeeded', '127.0.0.1', '01a21e257d6674608edb85c2d7ea66a9'),
	('01a21e25-7d85-7689-92d8-404d295b0cea', '2025-01-15 17:55:03.177798+00', NULL, 'users.create_user', '01a21e25-7d76-7233-9daf-0684bcf1e97f', 'username_taken', '127.0.0.1', '01a21e257d7576c388766e60f2154e2b'),
	('01a21e25-7d90-701f-aac4-ec927295221f', '2025-01-15 17:55:03.185044+00', '01a21e25-7a16-7630-a3bd-f7051c5ba031', 'products.stage_import', '01a21e25-7d8e-7042-a582-1c58deecda91', 'succeeded', '127.0.0.1', '01a21e257d8e7042a5821c578ad0f69c'),
	('01a21e25-7e24-7158-8d71-cfc91fd25acf', '2025-01-15 17:55:03.332391+00', '01a21e25-7a16-7630-a3bd-f7051c5ba031', 'products.import_products', '01a21e25-7d8e-7042-a582-1c58deecda91', 'succeeded', '127.0.0.1', '01a21e257d8e7042a5821c578ad0f69c'),
	('01a21e25-7e9e-76b1-9dea-da2f41914a74', '2025-01-15 17:55:03.454868+00', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'users.switch_two_step', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'succeeded', '127.0.0.1', '01a21e257e937388aaaf4e54511aaa73'),
	('01a21e25-7eb7-76d0-8648-6d1825085e40', '2025-01-15 17:55:03.479757+00', NULL, 'auth.sign_in', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'succeeded', '127.0.0.1', '01a21e257ea97550a3b6f1bd550e5f1b'),
	('01a21e25-83a1-733b-be75-458e5d21fdde', '2025-01-15 17:55:04.738106+00', NULL, 'users.create_user', '01a21e25-7f0c-729a-8515-4487a6b9c10f', 'internal_error', '127.0.0.1', '01a21e257f0b77baa86d2e0ef535f083'),
	('01a21e25-8872-70bb-a0de-94c1fe173b2c', '2025-01-15 17:55:05.971052+00', NULL, 'users.create_user', '01a21e25-8852-7021-95cd-b4eb778fe82d', 'succeeded', '127.0.0.1', '01a21e258852702195cdb4ea130a2d23'),
	('01a21e25-888b-74ea-90c0-bc269511d572', '2025-01-15 17:55:05.995273+00', NULL, 'users.request_password_reset', NULL, 'succeeded', '127.0.0.1', '01a21e25887a76b7b8653799bb3a574a'),
	('01a21e25-88c7-72c3-bbd4-a09e19568042', '2025-01-15 17:55:06.055113+00', '01a21e25-7a16-7630-a3bd-f7051c5ba031', 'products.remove_stock', '01a21e25-7d1d-7026-877d-1f2d5061072f', 'succeeded', '127.0.0.1', '01a21e2588bd707b825fb30eb33cf1ee'),
	('01a21e25-88e3-7068-89cd-cefe474051f9', '2025-01-15 17:55:06.083488+00', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'users.change_email', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'succeeded', '127.0.0.1', '01a21e2588cd700080bdfe14a7113983'),
	('01a21e25-8912-778a-8ede-7be0532654d2', '2025-01-15 17:55:06.130521+00', '01a21e25-7a16-7630-a3bd-f7051c5ba031', 'products.stage_import', '01a21e25-8911-714c-b786-30c71c5e7f4a', 'succeeded', '127.0.0.1', '01a21e258911714cb78630c63c2a1a9b'),
	('01a21e25-92e6-718a-b6e7-911c92eecada', '2025-01-15 17:55:08.646304+00', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'users.switch_two_step', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'succeeded', '127.0.0.1', '01a21e2592c27364806d009290f8e19c');

INSERT INTO public.challenges VALUES
	('01a21e25-7eb3-7568-97da-0a7481f30d5f', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', '\xbbab2cb611038fcbf7b37a0f648f94779ed072c8b12598389c5ffb8ef6a61c8c', 0, '2025-01-15 17:55:03.475276+00', '2025-01-15 17:55:03.475276+00', '2025-01-15 18:00:03.475276+00', NULL);

INSERT INTO public.dead_letters VALUES
	('01a21e25-83a2-7790-a127-e778b5269a6a', '01a21e25-7f0c-729a-8515-4487a6b9c10f', 'users.create_user', 'users.hashing', 'undecodable', 'backend.shared.infrastructure.codec.Undecodable', '[{"type": "backend.shared.infrastructure.codec.Undecodable: the body is not a CreateUser", "frames": [{"file": "/work/w/old-08141d6/tasks/messages.py", "line": 64, "function": "_received"}, {"file": "/work/w/old-08141d6/backend/shared/infrastructure/bus.py", "line": 202, "function": "Bus.receive"}, {"file": "/work/w/old-08141d6/backend/shared/infrastructure/codec.py", "line": 43, "function": "Codec.decode"}]}]', '{"ip": "127.0.0.1", "resource": "/api/v1/users/01a21e25-7f0c-729a-8515-4487a6b9c10f", "request_id": "01a21e257f0b77baa86d2e0ef535f083", "user_agent": "Python-urllib/3.11", "accepted_at": "2025-01-15T17:55:03.564277+00:00"}', '{"age": null, "name": {"full": "Bob", "last": null, "first": null, "middle": null}, "email": "bob@example.com", "gender": null, "user_id": "01a21e25-7f0c-729a-8515-4487a6b9c10f", "language": "en", "password": "sealed:gAAAAABrCcP3KhxV7wPBgkdbbxlPkOzUEIBj87cuIeQvDxW5hfrdtG-3b9oU4R0CNn2M7ZjpGY6hVWfNRGsAN1lar3ZwUGZafDDkMC3eiapVFAd7QsWtf5w=", "username": "bob", "phone_number": null}', NULL, 'application/json', '01a21e257f0b77baa86d2e0ef535f083', '2025-01-15 17:55:04.741056+00', '2025-01-15 17:55:04.741056+00', 1, 'open', NULL);

INSERT INTO public.failures VALUES
	('\x87dbc1ef05c051be9bda7aff3f2f166b201e0fa9cbc7b6633a20e00e4d364c49', '{}', 0, '2025-01-15 17:55:02.986998+00'),
	('\xe204f1b8467d2456e261e3c26f6509d0615db0088b6fd93e31a9157d11045cfc', '{}', 0, '2025-01-15 17:55:02.986998+00'),
	('\x5b63aa02906ad56d04f6214f5f80b27f9cd1226c4d0c9e0a0f39ff3bc382faca', '{}', 0, '2025-01-15 17:55:08.638935+00'),
	('\xaab9635e1f5fa333c08595b95b392d7f2585d01c8e0210d169af4bd84ac53d11', '{}', 0, '2025-01-15 17:55:08.638935+00'),
	('\xf072352e0ed3c2e3ff7696f9171319c959dda2139c5a712578fbf0c9c36202a6', '{}', 0, '2025-01-15 17:55:08.638935+00');

INSERT INTO public.users VALUES
	('01a21e25-7a16-7630-a3bd-f7051c5ba031', 'cc6b3857a99841f88670bbaee80476a1@example.com', NULL, NULL, NULL, 'Admin', NULL, NULL, NULL, NULL, NULL, NULL, '{admin}', true, true, false, false, 'en', '2d8575bb$2b$04$OXVRt92kuhig2k7xsuGSi.08MK6Om5lgbdWPSrdY6L16oWIscIgTG', '2025-01-15 17:55:02.316837+00', '2025-01-15 17:55:02.316837+00', 1),
	('01a21e25-8852-7021-95cd-b4eb778fe82d', 'cyd@example.com', 'cyd', 'cyd', NULL, 'Cyd', NULL, NULL, NULL, NULL, NULL, NULL, '{}', true, false, false, false, 'en', '2d8575bb$2b$04$xyZeuxJadJXfTZB68qPuQO7LZn7qd6VEc9w.NFRjWblGEsqRjFXei', '2025-01-15 17:55:05.965977+00', '2025-01-15 17:55:05.965977+00', 1),
	('01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'ada@example.com', 'ada', 'ada', NULL, 'Ada', NULL, NULL, NULL, NULL, NULL, NULL, '{}', true, false, false, false, 'en', '2d8575bb$2b$04$FtTT2aow9A7uvxCIArP/BuIjR5XDnTbiRMGSHPVLwnhbUdGNsR8KC', '2025-01-15 17:55:03.055307+00', '2025-01-15 17:55:08.642416+00', 3);

INSERT INTO public.links VALUES
	('5a865529-2912-4005-9119-16e94b1d166a', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'verify_email', 'registration', NULL, '2025-01-15 17:55:03.055307+00', '2025-01-16 17:55:03.055307+00', NULL),
	('3cd1df95-a6e4-4f05-814e-c05a70a38beb', '01a21e25-8852-7021-95cd-b4eb778fe82d', 'verify_email', 'registration', NULL, '2025-01-15 17:55:05.965977+00', '2025-01-16 17:55:05.965977+00', NULL),
	('e3b7357d-657e-4ea8-b58b-2e5c40a20cd4', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'reset_password', 'request', NULL, '2025-01-15 17:55:05.986402+00', '2025-01-15 18:10:05.986402+00', NULL),
	('7b964a5b-dcd9-4f69-b110-5661e84c8e53', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'change_email', 'request', 'ada@example.org', '2025-01-15 17:55:06.081946+00', '2025-01-16 17:55:06.081946+00', NULL);

INSERT INTO public.mails VALUES
	('3f295941-6e18-53eb-9ed5-be296efc53b2', 'verify_email', 'sent', '01a21e257cd872369680f72b5f25fa04', '2025-01-15 17:55:03.119403+00', '2025-01-15 17:55:03.122015+00'),
	('abbabd69-7486-566a-9895-9ff50ac323fc', 'sign_in_code', 'sent', '01a21e257ea97550a3b6f1bd550e5f1b', '2025-01-15 17:55:03.494299+00', '2025-01-15 17:55:03.496674+00');

INSERT INTO public.operations VALUES
	('01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'users.create_user', 'succeeded', NULL, '/api/v1/users/01a21e25-7cd9-711b-8e3e-bc3357cfdb08', NULL, '01a21e257cd872369680f72b5f25fa04', NULL, NULL, false, 1, '2025-01-15 17:55:03.010289+00', '2025-01-15 17:55:03.055665+00'),
	('01a21e25-7d1d-7026-877d-1f2d5061072f', 'products.create_product', 'succeeded', NULL, '/api/v1/products/01a21e25-7d1d-7026-877d-1f2d5061072f', NULL, '01a21e257d1c75b49c9592309925df21', '01a21e25-7a16-7630-a3bd-f7051c5ba031', NULL, false, 1, '2025-01-15 17:55:03.069305+00', '2025-01-15 17:55:03.091631+00'),
	('01a21e25-7d14-7694-b33d-c8ea750693d8', 'notifications.mail_verification_link', 'succeeded', NULL, NULL, NULL, '01a21e257cd872369680f72b5f25fa04', NULL, '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', false, 1, '2025-01-15 17:55:03.060969+00', '2025-01-15 17:55:03.12466+00'),
	('01a21e25-7d40-7612-b1a2-cb99fc88a1bf', 'products.remove_stock', 'succeeded', NULL, '/api/v1/products/01a21e25-7d1d-7026-877d-1f2d5061072f', NULL, '01a21e257d407612b1a2cb98f8dc85f1', '01a21e25-7a16-7630-a3bd-f7051c5ba031', NULL, false, 1, '2025-01-15 17:55:03.104963+00', '2025-01-15 17:55:03.127187+00'),
	('01a21e25-7d76-7233-9daf-0684bcf1e97f', 'users.create_user', 'failed', NULL, '/api/v1/users/01a21e25-7d76-7233-9daf-0684bcf1e97f', '{"code": "username_taken", "type": "/problems/username_taken", "title": "Username taken", "detail": "Another user has this username, perhaps spelled in another case.", "status": 409, "request_id": "01a21e257d7576c388766e60f2154e2b"}', '01a21e257d7576c388766e60f2154e2b', NULL, NULL, false, 1, '2025-01-15 17:55:03.158238+00', '2025-01-15 17:55:03.17818+00'),
	('01a21e25-7d8e-7042-a582-1c58deecda91', 'products.import_products', 'succeeded', NULL, NULL, NULL, '01a21e257d8e7042a5821c578ad0f69c', '01a21e25-7a16-7630-a3bd-f7051c5ba031', NULL, false, 1, '2025-01-15 17:55:03.185675+00', '2025-01-15 17:55:03.190513+00'),
	('01a21e25-7eb9-76f9-a34f-bb8499329109', 'notifications.mail_sign_in_code', 'succeeded', NULL, NULL, NULL, '01a21e257ea97550a3b6f1bd550e5f1b', NULL, '01a21e25-7ea9-7550-a3b6-f1be78581a16', false, 1, '2025-01-15 17:55:03.481132+00', '2025-01-15 17:55:03.499768+00'),
	('01a21e25-7f0c-729a-8515-4487a6b9c10f', 'users.create_user', 'failed', NULL, '/api/v1/users/01a21e25-7f0c-729a-8515-4487a6b9c10f', '{"code": "internal_error", "type": "/problems/internal_error", "title": "Internal error", "detail": "A fault on our side. It has been logged under the request id.", "status": 500, "request_id": "01a21e257f0b77baa86d2e0ef535f083"}', '01a21e257f0b77baa86d2e0ef535f083', NULL, NULL, false, 1, '2025-01-15 17:55:03.564277+00', '2025-01-15 17:55:04.737601+00'),
	('01a21e25-8852-7021-95cd-b4eb778fe82d', 'users.create_user', 'succeeded', NULL, '/api/v1/users/01a21e25-8852-7021-95cd-b4eb778fe82d', NULL, '01a21e258852702195cdb4ea130a2d23', NULL, NULL, false, 1, '2025-01-15 17:55:05.938975+00', '2025-01-15 17:55:05.966345+00'),
	('01a21e25-887a-76b7-b865-379a26e84045', 'users.request_password_reset', 'succeeded', NULL, NULL, NULL, '01a21e25887a76b7b8653799bb3a574a', NULL, NULL, false, 1, '2025-01-15 17:55:05.9785+00', '2025-01-15 17:55:05.987523+00'),
	('01a21e25-88bd-707b-825f-b30f9d9bed5e', 'products.remove_stock', 'succeeded', NULL, '/api/v1/products/01a21e25-7d1d-7026-877d-1f2d5061072f', NULL, '01a21e2588bd707b825fb30eb33cf1ee', '01a21e25-7a16-7630-a3bd-f7051c5ba031', NULL, false, 1, '2025-01-15 17:55:06.045915+00', '2025-01-15 17:55:06.051167+00');

INSERT INTO public.outbox OVERRIDING SYSTEM VALUE VALUES
	('01a21e25-8d22-7603-8dd2-29fe90c08c98', 21, 'spool:01a21e25-8d22-7603-8dd2-29fe90c08c98', 'users.hashing', 'users.create_user', '{"age": null, "name": {"full": "Eve", "last": null, "first": null, "middle": null}, "email": "eve@example.com", "gender": null, "user_id": "01a21e25-8d22-7603-8dd2-29fe90c08c98", "language": "en", "password": "sealed:gAAAAABrCcP7zFNFE20-c4EXOmcPZ-Xlci7vi2NnNyVRwYA1pCWjNK9Zf0PJ3nT8XyuPnG4HW_Sq0Zia06zi_B4my9fDvl2eAEfpfML2MNhW9C85uCL1x2k=", "username": "eve", "phone_number": null}', '{"ip": "127.0.0.1", "spooled": true, "resource": "/api/v1/users/01a21e25-8d22-7603-8dd2-29fe90c08c98", "request_id": "01a21e258d2075d9a9d7be861e2c1352", "user_agent": "Python-urllib/3.11", "accepted_at": "2025-01-15T17:55:07.170738+00:00"}', '2025-01-15 17:55:08.599049+00'),
	('01a21e25-92bf-7362-87fa-861ed72b06f8', 22, 'spool:01a21e25-92bf-7362-87fa-861ed72b06f8', 'products.commands', 'products.add_stock', '{"reason": null, "quantity": 5, "product_id": "01a21e25-7d1d-7026-877d-1f2d5061072f", "movement_id": "01a21e25-92bf-7362-87fa-861ed72b06f8", "expected_version": null}', '{"ip": "127.0.0.1", "actor": "01a21e25-7a16-7630-a3bd-f7051c5ba031", "spooled": true, "resource": "/api/v1/products/01a21e25-7d1d-7026-877d-1f2d5061072f", "request_id": "01a21e2592bb76d1bbf8b916486b93d9", "user_agent": "Python-urllib/3.11", "accepted_at": "2025-01-15T17:55:08.607080+00:00"}', '2025-01-15 17:55:08.60773+00'),
	('01a21e25-92e7-756b-b019-5613e70d0004', 23, '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 'events', 'users.two_step_changed.v1', '{"id": "01a21e25-92e7-756b-b019-5613e70d0004", "data": {"enabled": false, "user_id": "01a21e25-7cd9-711b-8e3e-bc3357cfdb08"}, "time": "2025-01-15T17:55:08.647796Z", "type": "users.two_step_changed.v1", "source": "/users", "subject": "01a21e25-7cd9-711b-8e3e-bc3357cfdb08", "specversion": "1.0", "datacontenttype": "application/json"}', '{}', '2025-01-15 17:55:08.642416+00');

INSERT INTO public.product_imports VALUES
	('01a21e25-7d8e-7042-a582-1c58deecda91', 'text/csv', '\x6e616d652c70726963652c73746f636b0a43686169722c352c310a5461626c652c2d312c310a', 2, 2, '2025-01-15 17:55:03.183959+00'),
	('01a21e25-8911-714c-b786-30c71c5e7f4a', 'text/csv', '\x6e616d652c70726963652c73746f636b0a4465736b2c35302c310a', 1, 0, '2025-01-15 17:55:06.130115+00');

INSERT INTO public.product_import_failures VALUES
	('01a21e25-7d8e-7042-a582-1c58deecda91', 3, '{"code": "validation_failed", "type": "/problems/validation_failed", "title": "Validation failed", "detail": "Some values are not acceptable.", "errors": [{"detail": "Must be a decimal such as 899.99: digits, and at most two places.", "pointer": "/price"}], "status": 422, "request_id": "01a21e257d8e7042a5821c578ad0f69c"}');

INSERT INTO public.products VALUES
	('01a21e25-7d98-70ef-b8fb-f1a1d71118e2', NULL, 'Chair', NULL, 5.00, 1, 5, true, '2025-01-15 17:55:03.18785+00', '2025-01-15 17:55:03.18785+00', 1, DEFAULT, DEFAULT),
	('01a21e25-7d1d-7026-877d-1f2d5061072f', 'LAMP', 'Lamp', NULL, 19.90, 2, 3, true, '2025-01-15 17:55:03.090881+00', '2025-01-15 17:55:06.05097+00', 3, DEFAULT, DEFAULT);

INSERT INTO public.sessions VALUES
	('01a21e25-7ccb-7267-abfe-be1f1af64c06', '01a21e25-7a16-7630-a3bd-f7051c5ba031', 1, 'f3e0bce51aace921acfc852cbc47d6b8053d30f481bb945eb59cf44ecf7ca8b6', '{}', '127.0.0.1', 'Python-urllib/3.11', '2025-01-15 17:55:02.987961+00', '2025-01-15 17:55:02.987961+00', NULL, NULL),
	('01a21e25-7d6e-764c-8da6-1d6b02865b7b', '01a21e25-7cd9-711b-8e3e-bc3357cfdb08', 1, '848a9aab8b73b8d61c6c9567ca63ca11fa9233a31c9acbb7d0878fa4913fa7e4', '{}', '127.0.0.1', 'Python-urllib/3.11', '2025-01-15 17:55:03.150321+00', '2025-01-15 17:55:03.150321+00', NULL, NULL);

INSERT INTO public.stock_movements OVERRIDING SYSTEM VALUE VALUES
	('01a21e25-7d1d-7026-877d-1f2d5061072f', 1, '01a21e25-7d1d-7026-877d-1f2d5061072f', 7, 7, NULL, '01a21e25-7a16-7630-a3bd-f7051c5ba031', '2025-01-15 17:55:03.096744+00'),
	('01a21e25-7d40-7612-b1a2-cb99fc88a1bf', 2, '01a21e25-7d1d-7026-877d-1f2d5061072f', -2, 5, 'Order 1', '01a21e25-7a16-7630-a3bd-f7051c5ba031', '2025-01-15 17:55:03.134747+00'),
	('01a21e25-7d98-70ef-b8fb-f1a1d71118e2', 3, '01a21e25-7d98-70ef-b8fb-f1a1d71118e2', 1, 1, NULL, '01a21e25-7a16-7630-a3bd-f7051c5ba031', '2025-01-15 17:55:03.32851+00'),
	('01a21e25-88bd-707b-825f-b30f9d9bed5e', 4, '01a21e25-7d1d-7026-877d-1f2d5061072f', -3, 2, NULL, '01a21e25-7a16-7630-a3bd-f7051c5ba031', '2025-01-15 17:55:06.054685+00');

SELECT pg_catalog.setval('public.outbox_position_seq', 23, true);

SELECT pg_catalog.setval('public.stock_movements_position_seq', 4, true);
