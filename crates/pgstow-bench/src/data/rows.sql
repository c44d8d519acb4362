-- Every value follows from the row's number by a hash: the same rows on every machine, and as good as
-- random for a compressor. {begin} and {end} are shares of the full size; {base} is the share loaded first.
INSERT INTO customer
SELECT md5('customer ' || i)::uuid,
       i,
       initcap(translate(substr(md5('name ' || i), 1, 14), '0123456789', 'ghijklmnop')),
       substr(md5('mail ' || i), 1, 16) || '@example.com',
       (hashint8extended(i, 1) % 10000000) / 100.0,
       jsonb_build_object('segment', (hashint8extended(i, 2) & 15), 'key', md5('key ' || i),
                          'tags', jsonb_build_array(substr(md5('tag ' || i), 1, 6), substr(md5('tab ' || i), 1, 6)),
                          'score', (hashint8extended(i, 3) & 1048575) / 1000.0),
       timestamptz '2019-01-01 00:00:00Z' + i * interval '397 seconds'
FROM generate_series((100000 * {begin}::numeric)::bigint + 1, (100000 * {end}::numeric)::bigint) AS i;

INSERT INTO purchase
SELECT i,
       md5('purchase ' || i)::uuid,
       md5('customer ' || 1 + (hashint8extended(i, 1) & 9223372036854775807) % (100000 * {base}::numeric)::bigint)::uuid,
       timestamptz '2021-01-01 00:00:00Z' + i * interval '61.043 seconds',
       CASE WHEN (hashint8extended(i, 2) & 7) > 0 THEN timestamptz '2021-01-02 00:00:00Z' + i * interval '61.071 seconds' END,
       CASE WHEN (hashint8extended(i, 3) & 3) > 0 THEN date '2021-01-01' + (i / 1400)::integer END,
       (ARRAY['new', 'paid', 'packed', 'shipped', 'returned'])[1 + (hashint8extended(i, 4) & 1048575) % 5],
       (hashint8extended(i, 5) & 1073741823) / 100.0,
       (hashint8extended(i, 6) & 4095) / 10000.0,
       (hashint8extended(i, 7) & 65535) / 128.0,
       ARRAY[(hashint8extended(i, 8) & 255)::integer, (hashint8extended(i, 9) & 65535)::integer],
       sha256(convert_to('signature ' || i, 'UTF8')),
       jsonb_build_object('session', md5('session ' || i), 'items', (hashint8extended(i, 10) & 31), 'channel',
                          (ARRAY['web', 'shop', 'phone'])[1 + (hashint8extended(i, 11) & 1048575) % 3],
                          'address', jsonb_build_object('line', substr(md5('line ' || i), 1, 20),
                                                        'code', (hashint8extended(i, 12) & 65535))),
       CASE WHEN (hashint8extended(i, 13) & 1) = 0
            THEN encode(sha512(convert_to('remark ' || i, 'UTF8')), 'base64') END
FROM generate_series((1000000 * {begin}::numeric)::bigint + 1, (1000000 * {end}::numeric)::bigint) AS i;

INSERT INTO measurement
SELECT i,
       (hashint8extended(i, 1) & 16383)::integer,
       timestamptz '2020-01-01 00:00:00Z' + i * interval '0.741 seconds',
       (hashint8extended(i, 2) & 4398046511103) / 1048576.0,
       CASE WHEN (hashint8extended(i, 3) & 7) > 0 THEN (hashint8extended(i, 4) & 127)::smallint END
FROM generate_series((6000000 * {begin}::numeric)::bigint + 1, (6000000 * {end}::numeric)::bigint) AS i;

INSERT INTO document
SELECT i,
       md5('customer ' || 1 + (hashint8extended(i, 1) & 9223372036854775807) % (100000 * {base}::numeric)::bigint)::uuid,
       'Document ' || md5('title ' || i),
       (SELECT string_agg(encode(sha512(convert_to(i || ' ' || piece, 'UTF8')), 'base64'), ' ')
        FROM generate_series(1, 45 + (hashint8extended(i, 2) & 127)) AS piece),
       timestamptz '2022-01-01 00:00:00Z' + i * interval '1013 seconds'
FROM generate_series((30000 * {begin}::numeric)::bigint + 1, (30000 * {end}::numeric)::bigint) AS i;
