{{ config(
    materialized='external',
    location=env_var('PEER_OUT') ~ '/silver',
    options={'partition_by': 'rede_social, data_postagem', 'overwrite': 1}
) }}

select
    faculdade, rede_social, data_postagem::date as data_postagem, posted_at::timestamp as posted_at,
    video_id, titulo_video, categoria, duracao_seg, views, likes, comentarios, engagement_rate,
    leads_estimados, ctr_estimado, run_id, ingestion_ts::timestamptz as ingestion_ts
from read_json('{{ env_var("PEER_BRONZE") }}/*/*/*.jsonl', format = 'newline_delimited')
qualify row_number() over (partition by video_id order by ingestion_ts desc) = 1
