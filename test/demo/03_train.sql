\echo 'One joint model over all five modules:'
SELECT model, users, items, interactions, iterations, round(loss::numeric) AS loss, read_seconds, train_seconds
FROM kpx_train(ARRAY['courses', 'products', 'videos', 'posts', 'jobs'], params => '{"factors": 32}');
