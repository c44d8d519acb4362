-- A hundredth of each table's rows, next to each other; {at} is the share of the rows before them.
UPDATE measurement SET value = value + 1
WHERE id > (6000000 * {base}::numeric * {at}::numeric)::bigint
  AND id <= (6000000 * {base}::numeric * ({at}::numeric + 0.01))::bigint;
UPDATE purchase SET total = total + 1, paid_at = placed_at
WHERE id > (1000000 * {base}::numeric * {at}::numeric)::bigint
  AND id <= (1000000 * {base}::numeric * ({at}::numeric + 0.01))::bigint;
UPDATE document SET body = md5(body) || body
WHERE id > (30000 * {base}::numeric * {at}::numeric)::bigint
  AND id <= (30000 * {base}::numeric * ({at}::numeric + 0.01))::bigint;
