{{ config(
    materialized='external',
    location=env_var('PEER_OUT') ~ '/gold_video_views_dia_faculdade.csv',
    options={'header': 1}
) }}

select
    data_postagem, faculdade, sum(views)::bigint as total_views, sum(likes)::bigint as total_likes,
    sum(comentarios)::bigint as total_comentarios, count(*) as total_videos
from {{ ref('silver') }}
group by all
order by all
