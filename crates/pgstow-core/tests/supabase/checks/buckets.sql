SELECT format('bucket %s: %s', b.id, to_jsonb(b) - 'id') FROM storage.buckets b
UNION ALL
SELECT format('bucket %s holds %s files: %s', b.id, count(o.id),
              md5(coalesce(string_agg(to_jsonb(o)::text, ' ' ORDER BY o.id), '')))
  FROM storage.buckets b
  LEFT JOIN storage.objects o ON o.bucket_id = b.id
 GROUP BY b.id
