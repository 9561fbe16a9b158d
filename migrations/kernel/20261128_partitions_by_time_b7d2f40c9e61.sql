-- Turns a table into one that is partitioned by the time in its ids (UUIDv7). The table as it was becomes the oldest
-- partition: no row is copied. It covers everything until the end of the next period, so that the maintenance has time
-- to make those that follow. The few rows whose ids pretend to be of a later time are moved to the default partition.
CREATE OR REPLACE FUNCTION partition_end(days integer) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT rpad(lpad(to_hex(
        ((floor(extract(epoch FROM now()) / (86400 * days)) + 2) * 86400 * days * 1000)::bigint
    ), 12, '0'), 32, '0')::uuid
$$;

-- A validated constraint saves ATTACH PARTITION the scan during which nobody may use the table.
CREATE OR REPLACE FUNCTION partition_prepare(name text, days integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    later boolean;
BEGIN
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS before_partitions', name); -- of a run that did not finish
    EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE id >= %L)', name, partition_end(days)) INTO later;
    IF NOT later THEN
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT before_partitions CHECK (id < %L) NOT VALID', name, partition_end(days));
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION partition_validate(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = name::regclass AND conname = 'before_partitions') THEN
        EXECUTE format('ALTER TABLE %I VALIDATE CONSTRAINT before_partitions', name);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION partition_by_time(name text, days integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    oldest text := name || '_oldest';
    ends uuid;
    index text;
BEGIN
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', name);
    SELECT substring(pg_get_constraintdef(oid) FROM '[0-9a-f-]{36}')::uuid INTO ends
        FROM pg_constraint WHERE conrelid = name::regclass AND conname = 'before_partitions';
    ends := coalesce(ends, partition_end(days));
    EXECUTE format('ALTER TABLE %I RENAME TO %I', name, oldest);
    FOR index IN SELECT indexrelid::regclass FROM pg_index WHERE indrelid = oldest::regclass LOOP
        EXECUTE format('ALTER INDEX %s RENAME TO %I', index, replace(index, name, oldest));
    END LOOP;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) PARTITION BY RANGE (id)', name, oldest);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS before_partitions', name);
    EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', name || '_default', name);
    EXECUTE format('INSERT INTO %I SELECT * FROM %I WHERE id >= %L', name, oldest, ends);
    EXECUTE format('DELETE FROM %I WHERE id >= %L', oldest, ends);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', name, oldest, ends);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS before_partitions', oldest);
END
$$;

CREATE OR REPLACE FUNCTION partition_undo(name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    plain text := name || '_plain';
    index text;
BEGIN
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', plain, name);
    EXECUTE format('INSERT INTO %I SELECT * FROM %I', plain, name);
    EXECUTE format('DROP TABLE %I', name);
    EXECUTE format('ALTER TABLE %I RENAME TO %I', plain, name);
    FOR index IN SELECT indexrelid::regclass FROM pg_index WHERE indrelid = name::regclass LOOP
        EXECUTE format('ALTER INDEX %s RENAME TO %I', index, replace(index, plain, name));
    END LOOP;
END
$$
